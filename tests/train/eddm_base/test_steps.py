from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.files import read_jsonl
from train.eddm_base.steps import Losses, Steps, make_optimizers


class StopEarlyError(Exception):
    pass


def make_steps(folder: Path, layer: nn.Linear, fingerprint: str = "a") -> Steps:
    return Steps(
        "vision",
        12,
        nn.ModuleDict({"layer": layer}),
        make_optimizers(layer, 1e-2, 1e-2, 0.0),
        state=folder / "vision.resume.pt",
        fingerprint=fingerprint,
        seed=0,
        save_every=5,
        log_to=folder / "vision.jsonl",
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
    assert not list((tmp_path / "cut").glob("*.pt"))
    assert [row["step"] for row in read_jsonl(tmp_path / "cut" / "vision.jsonl")] == [10, 12]


def test_a_state_of_another_configuration_is_left_alone(tmp_path: Path) -> None:
    layer = make_layer()
    with pytest.raises(StopEarlyError):
        train(make_steps(tmp_path, layer), layer, stop=7)
    assert make_steps(tmp_path, make_layer(), fingerprint="b").done == 0


def test_matrices_and_the_rest_have_optimizers_of_their_own() -> None:
    model = nn.ModuleDict({"inner": nn.Linear(64, 64), "embed": nn.Embedding(64, 64), "norm": nn.LayerNorm(64)})
    muon, adam = make_optimizers(model, 1e-2, 1e-3, 0.0)
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(64, 64)]
    assert len(adam.param_groups[0]["params"]) == 4
