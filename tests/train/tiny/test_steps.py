import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from data.errors import UserError
from data.files import read_jsonl
from train.engine.stop import Stop
from train.tiny.steps import Losses, Steps, make_optimizers


class StopEarlyError(Exception):
    pass


def make_steps(folder: Path, layer: nn.Linear, identity: str = "a", **settings: Any) -> Steps:
    return Steps(
        "vision",
        12,
        nn.ModuleDict({"layer": layer}),
        make_optimizers(layer, 1e-2, 1e-2, 0.0),
        checkpoints=folder / "vision",
        identity=identity,
        seed=0,
        save_every=5,
        log_to=folder / "vision.jsonl",
        **settings,
    )


def make_layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 64)


def train(steps: Steps, layer: nn.Linear, stop: int | None = None) -> None:
    def losses(rng: np.random.Generator, share: float) -> Losses:
        if stop is not None and share >= stop / 12:
            raise StopEarlyError
        inputs = torch.from_numpy(rng.standard_normal((8, 64), np.float32))
        return {"fit": (1.0, (layer(inputs) - inputs).square().mean())}

    steps.run(losses, lambda share: [1 - share] * 2)


def test_an_interrupted_part_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole, first, second = make_layer(), make_layer(), make_layer()
    train(make_steps(tmp_path / "whole", whole), whole)
    with pytest.raises(StopEarlyError):
        train(make_steps(tmp_path / "cut", first), first, stop=7)
    resumed = make_steps(tmp_path / "cut", second)
    assert resumed.done == 5
    train(resumed, second)
    assert torch.equal(whole.weight, second.weight)
    assert (tmp_path / "cut" / "vision" / "step-000010").is_dir()  # until the result is kept
    assert [row["step"] for row in read_jsonl(tmp_path / "cut" / "vision.jsonl")] == [10, 12]


def test_a_checkpoint_of_another_training_is_left_alone(tmp_path: Path) -> None:
    layer = make_layer()
    with pytest.raises(StopEarlyError):
        train(make_steps(tmp_path, layer), layer, stop=7)
    assert make_steps(tmp_path, make_layer(), identity="b").done == 0
    assert (tmp_path / "vision" / "damaged-step-000005" / "state.pt").is_file()


def test_a_damaged_state_gives_way_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, layer, resumed = make_layer(), make_layer(), make_layer()
    train(make_steps(tmp_path / "whole", whole), whole)
    with pytest.raises(StopEarlyError):
        train(make_steps(tmp_path, layer), layer, stop=11)
    os.truncate(tmp_path / "vision" / "step-000010" / "state.pt", 1000)
    with caplog.at_level(logging.WARNING):
        steps = make_steps(tmp_path, resumed)
    assert steps.done == 5 and "step-000010 is damaged" in caplog.text
    train(steps, resumed)
    assert torch.equal(whole.weight, resumed.weight)


def test_with_both_states_damaged_it_starts_again(tmp_path: Path) -> None:
    layer = make_layer()
    with pytest.raises(StopEarlyError):
        train(make_steps(tmp_path, layer), layer, stop=11)
    for path in tmp_path.rglob("*.pt"):
        path.write_bytes(b"")
    assert make_steps(tmp_path, make_layer()).done == 0


def test_sigterm_saves_the_step_at_hand(tmp_path: Path) -> None:
    whole, layer, resumed, stop = make_layer(), make_layer(), make_layer(), Stop()
    train(make_steps(tmp_path / "whole", whole), whole)
    stop.requested = True
    with pytest.raises(SystemExit) as error:
        train(make_steps(tmp_path, layer, stop=stop), layer)
    assert error.value.code == 143
    steps = make_steps(tmp_path, resumed)
    assert steps.done == 1
    train(steps, resumed)
    assert torch.equal(whole.weight, resumed.weight)


def test_a_loss_that_is_no_number_stops_and_is_not_saved(tmp_path: Path) -> None:
    layer = make_layer()

    def losses(rng: np.random.Generator, share: float) -> Losses:
        scale = float("nan") if share >= 9 / 12 else 1.0
        return {"fit": (1.0, layer(torch.ones(2, 64)).square().mean() * scale)}

    with pytest.raises(UserError, match="vision, step 10: fit nan"):
        make_steps(tmp_path, layer).run(losses, lambda share: [1.0] * 2)
    assert make_steps(tmp_path, make_layer()).done == 5


def test_too_little_disk_is_found_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.engine.durable.MARGIN", 1 << 60)
    with pytest.raises(UserError, match="Too little disk for the state of vision"):
        make_steps(tmp_path, make_layer())


def test_matrices_and_the_rest_have_optimizers_of_their_own() -> None:
    model = nn.ModuleDict({"inner": nn.Linear(64, 64), "embed": nn.Embedding(64, 64), "norm": nn.LayerNorm(64)})
    muon, adam = make_optimizers(model, 1e-2, 1e-3, 0.0)
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(64, 64)]
    assert len(adam.param_groups[0]["params"]) == 4
