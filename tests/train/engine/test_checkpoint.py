"""What accelerate keeps: room on the disk for it, the way back, and which one stays."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from torch import nn

from data.errors import UserError
from train.engine import checkpoint as module
from train.engine.checkpoint import Progress, check_disk, clear_finished, find_progress
from train.engine.launch import Strategy
from train.engine.manifest import Keep, Manifest, seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_progress_comes_from_the_newest_checkpoint_of_this_training(folder: Path) -> None:
    assert find_progress(folder, "own", strategy=Strategy.ddp) == Progress()
    for step in (2, 4):
        (folder / f"step-{step:06d}").mkdir(parents=True)
        more = {"losses": [3.0, 1.0 / step], "smoothed": 1.0 / step}
        seal(folder / f"step-{step:06d}", Manifest(identity="own", step=step, world=1, more=more))
    assert find_progress(folder, "own", strategy=Strategy.ddp) == Progress(4, (3.0, 0.25), 0.25)
    with pytest.raises(UserError, match=r"launch\.strategy=ddp; this run has 1 with zero2"):
        find_progress(folder, "own", strategy=Strategy.zero2)
    clear_finished(folder, keep_best=True)
    assert [path.name for path in folder.iterdir()] == ["step-000004"]
    clear_finished(folder, keep_best=False)
    assert not folder.exists()


def test_a_small_disk_is_noticed_before_the_first_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    network = nn.Linear(1000, 1000)
    check_disk(folder, network, Keep(), key="loop.keep_last")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(40 * 2**20))
    with pytest.raises(UserError, match=r"for 3 checkpoints of 15 MiB \(loop.keep_last=2\).*40 MiB free"):
        check_disk(folder, network, Keep(), key="loop.keep_last")
    check_disk(folder, network, Keep(last=0), key="loop.keep_last")


def test_a_checkpoint_of_another_architecture_is_refused() -> None:
    state = module.trainable_state(nn.Linear(3, 2))
    with pytest.raises(UserError, match="another architecture or vocabulary"):
        module.load_trainable(nn.Linear(4, 2), state)
    with pytest.raises(UserError, match="parameters differ"):
        module.load_trainable(nn.Linear(3, 2, bias=False), state)
