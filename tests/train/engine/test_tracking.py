import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.files import read_jsonl
from train.engine.tracking import Tracker, TrackingConfig, WandbMode


def track(folder: Path, start: int, stop: int) -> None:
    tracker = Tracker(folder / "log.jsonl", start=start, steps=6, name="stage", config=TrackingConfig(seconds=0))
    for step in range(start + 1, stop + 1):
        tracker.add(step, loss=float(step))
    tracker.close()


def test_a_resumed_log_has_each_step_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    with caplog.at_level(logging.INFO):
        track(tmp_path, 0, 5)
        track(tmp_path, 3, 6)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2, 3, 4, 5, 6]
    assert "stage: step 6/6  loss 6" in caplog.text
    track(tmp_path, 0, 2)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2]


def test_tensorboard_has_every_number_once_and_the_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = TrackingConfig(pictures_every=2)
    for start, stop in ((0, 4), (2, 5)):  # interrupted after 4, its last checkpoint was after 2
        tracker = Tracker(tmp_path / "log.jsonl", start=start, steps=6, name="stage", config=config)
        for step in range(start + 1, stop + 1):
            tracker.add(step, loss=float(step), grad_norm=2.0)
            if tracker.wants_pictures(step):
                tracker.add_pictures(step, [np.zeros((4, 12, 3), np.uint8)])
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"loss", "grad_norm"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]
    assert [event.step for event in events.Images("masks")] == [2, 4]
    assert events.Images("masks")[0].width == 12


def test_the_line_on_the_screen_leaves_out_the_quiet_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker(tmp_path / "log.jsonl", start=0, steps=1, name="stage", config=TrackingConfig(tensorboard=False))
    with caplog.at_level(logging.INFO):
        tracker.add(1, loss=1.0, memory_gib=3.0)
    assert "loss 1" in caplog.text and "memory" not in caplog.text
    assert read_jsonl(tmp_path / "log.jsonl") == [{"step": 1, "loss": 1.0, "memory_gib": 3.0}]
    assert not (tmp_path / "tensorboard").exists()


def test_wandb_is_off_unless_asked_and_then_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    remote = SimpleNamespace(log=lambda row, step: calls.append((step, row)), finish=lambda: calls.append("end"))

    def init(**settings: Any) -> Any:
        calls.append(settings)
        return remote

    fake = SimpleNamespace(init=init, Image=lambda picture: picture.shape, errors=SimpleNamespace(Error=OSError))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for mode in (WandbMode.off, WandbMode.offline):
        config = TrackingConfig(tensorboard=False, wandb=mode, wandb_project="p")
        tracker = Tracker(tmp_path / "log.jsonl", start=0, steps=2, name="stage", config=config, settings={"lr": 1})
        tracker.add(1, loss=1.0)
        tracker.add_pictures(1, [np.zeros((2, 6, 3), np.uint8)])
        tracker.close()
        if mode is WandbMode.off:
            assert calls == []
    assert (calls[0]["project"], calls[0]["mode"], calls[0]["config"]) == ("p", "offline", {"lr": 1})
    assert calls[1:] == [(1, {"loss": 1.0}), (1, {"masks": [(2, 6, 3)]}), "end"]
