import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from data.errors import UserError
from data.files import append_jsonl, read_jsonl
from scripts.command import CONFIGS, to_dataclass
from train.eddm.config import EDDMConfig
from train.eddm.watch import Numbered, NumberedCollator, Watch, audit
from train.engine import ranks
from train.engine.manifest import find_damage, list_checkpoints, read_manifest
from train.engine.stop import Stop


def configure(run: Path, *overrides: str) -> EDDMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return to_dataclass(compose("train_eddm", [f"run_dir={run}", *overrides]), EDDMConfig)


def make_trainer(output: Path, **changes: Any) -> Any:
    """What `Watch` looks at in a trainer; its model has one frozen and one trained layer."""
    model = nn.ModuleDict({"q_proj": nn.ModuleDict({"lora_A": nn.Linear(4, 2, bias=False)}), "base": nn.Linear(4, 4)})
    model["base"].requires_grad_(False)
    args = {
        "world_size": 1,
        "device": torch.device("cpu"),
        "output_dir": str(output),
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "save_steps": 5,
        **changes,
    }
    losses = iter([torch.tensor(1.0), torch.tensor(float("nan"))])
    return SimpleNamespace(
        args=SimpleNamespace(**args),
        model=model,
        is_deepspeed_enabled=False,
        train_dataset=[{"x": torch.tensor(float(number))} for number in range(3)],
        data_collator=lambda rows: {"x": torch.stack([row["x"] for row in rows])},
        compute_loss=lambda model, inputs: next(losses),
        state=SimpleNamespace(global_step=6),
        add_callback=lambda callback: None,
    )


def make_watch(run: Path, stop: Stop | None = None, *overrides: str) -> Watch:
    rows = [{"id": f"scene-{number}", "images": [f"{number}.png"]} for number in range(3)]
    return Watch(configure(run, *overrides), stop or Stop(), identity="own", rows=rows, said=lambda: None)


def test_the_audit_says_what_will_be_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        audit(make_trainer(tmp_path), configure(tmp_path), rows=18)
    for said in (
        "8 trained of 28 parameters; 1 rank on cpu, ddp",
        "adapted: q_proj × 1",
        "trained float32, frozen float32",
        "batch: 8 rows a step = 4 × 2 accumulated × 1 ranks",
        "data: 18 rows",
    ):
        assert said in caplog.text


@pytest.mark.parametrize(
    ("trainer", "overrides", "started", "said"),
    [
        ({"world_size": 1}, ["optim.deepspeed=zero2"], 1, "DeepSpeed is not at work"),
        ({"world_size": 2}, [], 1, "takes itself for one of 2 ranks, but 1 were started"),
        ({"world_size": 1}, [], 2, "takes itself for one of 1 ranks, but 2 were started"),
    ],
)
def test_the_audit_refuses_what_would_go_wrong_silently(
    tmp_path: Path,
    trainer: dict[str, Any],
    overrides: list[str],
    started: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranks, "world_size", lambda: started)
    with pytest.raises(UserError, match=said):
        audit(make_trainer(tmp_path, **trainer), configure(tmp_path, *overrides), rows=1)


def test_the_audit_refuses_a_model_with_nothing_to_train(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.model.requires_grad_(False)
    with pytest.raises(UserError, match="Nothing is trainable"):
        audit(trainer, configure(tmp_path), rows=1)


def test_too_little_disk_is_found_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.engine.durable.MARGIN", 1 << 60)
    with pytest.raises(UserError, match=r"Too little disk for 3 checkpoints of 0 MiB \(optim\.keep=2\)"):
        audit(make_trainer(tmp_path), configure(tmp_path), rows=1)


def test_a_bad_loss_names_the_rows_of_its_batch(tmp_path: Path) -> None:
    trainer, watch = make_trainer(tmp_path), make_watch(tmp_path)
    watch.attach(trainer)
    batch = trainer.data_collator([trainer.train_dataset[2], trainer.train_dataset[0]])
    assert batch["x"].tolist() == [2.0, 0.0]
    model = nn.Linear(1, 1).train()
    assert float(trainer.compute_loss(model, dict(batch))) == 1.0
    watch.on_pre_optimizer_step(trainer.args, trainer.state, None)
    trainer.compute_loss(model, dict(batch))
    with pytest.raises(UserError, match=r"the loss is nan at step 7, on scene-2 \(line 3\), scene-0 \(line 1\)"):
        watch.on_pre_optimizer_step(trainer.args, trainer.state, None)
    written = json.loads((tmp_path / "eddm" / "bad_batch.json").read_text())
    assert written["ranks"][0]["ids"] == ["scene-2 (line 3)", "scene-0 (line 1)"]


def test_an_exploding_loss_counts_as_bad(tmp_path: Path) -> None:
    trainer, watch = make_trainer(tmp_path), make_watch(tmp_path, None, "optim.loss_limit=0.5")
    watch.attach(trainer)
    trainer.compute_loss(nn.Linear(1, 1).train(), trainer.data_collator([trainer.train_dataset[1]]))
    with pytest.raises(UserError, match=r"the loss is 1, over its limit of 0\.5, at step 7"):
        watch.on_pre_optimizer_step(trainer.args, trainer.state, None)


def test_no_micro_batch_waits_for_its_loss(tmp_path: Path) -> None:
    """Reading the loss would make the GPU wait; a fake tensor raises where it is read."""
    trainer, watch = make_trainer(tmp_path), make_watch(tmp_path)
    with FakeTensorMode():
        fake = torch.ones(())
        with pytest.raises(DataDependentOutputException):
            float(fake)
        trainer.compute_loss = lambda model, inputs: fake
        watch.attach(trainer)
        assert trainer.compute_loss(nn.Linear(1, 1).train(), {"row_number": torch.zeros(1)}) is fake


def test_numbers_survive_the_loaders_processes() -> None:
    rows = Numbered([{"x": torch.tensor(0.0)}] * 4)
    collate = NumberedCollator(_collate)
    loader = torch.utils.data.DataLoader(rows, batch_size=2, num_workers=1, collate_fn=collate)
    assert [batch["row_number"].tolist() for batch in loader] == [[0, 1], [2, 3]]


def _collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert all(set(row) == {"x"} for row in rows)
    return {"x": torch.stack([row["x"] for row in rows])}


def test_when_asked_to_end_it_saves_and_stops_but_not_after_the_last_step(tmp_path: Path) -> None:
    stop = Stop()
    watch = make_watch(tmp_path, stop)
    for requested, step, expected in ((False, 3, False), (True, 8, False), (True, 3, True)):
        stop.requested = requested
        control = SimpleNamespace(should_save=False, should_training_stop=False)
        watch.on_step_end(SimpleNamespace(), SimpleNamespace(global_step=step, max_steps=8), control)
        assert (control.should_save, control.should_training_stop, watch.stopped) == (expected,) * 3


def test_a_saved_checkpoint_is_sealed_before_the_oldest_goes(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    for step in (2, 3, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        watch.on_save(SimpleNamespace(output_dir=str(tmp_path)), SimpleNamespace(global_step=step, max_steps=12), None)
        assert find_damage(folder) is None
        assert (read_manifest(folder).identity, read_manifest(folder).step) == ("own", step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-10"]


def test_the_log_is_written_as_the_steps_come_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    base = {"stage": "base", "part": "vision", "step": 9, "loss": 4.0}
    append_jsonl(tmp_path / "eddm" / "log.jsonl", [base])

    def train(start: int, stop: int) -> list[dict[str, Any]]:
        watch = make_watch(tmp_path)
        watch.on_train_begin(None, SimpleNamespace(global_step=start, max_steps=6), None)
        for step in range(start + 1, stop + 1):
            logs = {"loss": 1.0 / step, "grad_norm": 0.5, "learning_rate": 0.1, "epoch": 0.3}
            watch.on_log(None, SimpleNamespace(global_step=step), None, logs)
        watch.close()
        return read_jsonl(tmp_path / "eddm" / "log.jsonl")

    train(0, 5)  # killed: its last checkpoint was after 4
    rows = train(4, 6)
    assert rows[0] == base and [row["step"] for row in rows[1:]] == [1, 2, 3, 4, 5, 6]
    assert rows[1] == {"stage": "lora", "step": 1, "loss": 1.0, "lr": 0.1, "grad_norm": 0.5}
