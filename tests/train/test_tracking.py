import logging
from pathlib import Path

import pytest

from data.files import read_jsonl
from train.tracking import Tracker, TrackingConfig


def track(path: Path, start: int, stop: int) -> None:
    tracker = Tracker(path, start=start, steps=6, name="stage", config=TrackingConfig(seconds=0))
    for step in range(start + 1, stop + 1):
        tracker.add(step, loss=float(step))
    tracker.close()


def test_a_resumed_log_has_each_step_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    with caplog.at_level(logging.INFO):
        track(path, 0, 5)
        track(path, 3, 6)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2, 3, 4, 5, 6]
    assert "stage: step 6/6  loss 6" in caplog.text
    track(path, 0, 2)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2]
