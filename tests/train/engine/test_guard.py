from pathlib import Path

import pytest

from data.errors import UserError
from data.files import read_json
from train.engine.guard import WARM, LossGuard, stop_on


def test_an_explosion_is_told_from_a_start_and_from_noise() -> None:
    guard = LossGuard(10.0)
    assert guard.judge(500.0) is None  # nothing to compare with yet
    assert all(guard.judge(1.0) is None for _ in range(WARM))
    assert guard.judge(9.0) is None
    assert "exploded to 11" in str(guard.judge(11.0))
    assert LossGuard(10.0, guard.losses).judge(11.0) is not None  # a resumed run remembers
    assert LossGuard(None, guard.losses).judge(1e9) is None
    for bad in (float("nan"), float("inf")):
        assert LossGuard(None).judge(bad) == f"the loss is {bad}"


def test_the_batch_is_written_down(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the loss is nan at step 3, on a, b; also in .*bad_batch.json"):
        stop_on("the loss is nan", name="stage", step=3, ids=["a", "b"], loss=float("nan"), folder=tmp_path)
    written = read_json(tmp_path / "bad_batch.json")
    assert (written["step"], written["ranks"]) == (3, [{"rank": 0, "loss": "nan", "ids": ["a", "b"]}])
