"""Complete or not there, checked before use, of this very run; killed at any point of a write."""

import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from data.errors import UserError
from data.files import write_json
from train.engine import checkpoint as module
from train.engine import durable
from train.engine.checkpoint import (
    Keep,
    Progress,
    check_disk,
    clear_finished,
    clear_leftovers,
    complete,
    find_damage,
    find_progress,
    prune,
)
from train.engine.identity import Identity
from train.engine.launch import Strategy
from train.engine.resume import Resume

RUN = Identity({"loop.steps": "9"}, {"a": "normal, 1 bytes", "b": "scratch, 2 bytes"})


class Killed(BaseException):
    """Stands for a power cut."""


def write(folder: Path, step: int, smoothed: float = 1.0, keep: Keep | None = None) -> Path:
    temporary = folder / "writing"
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "shard").mkdir(parents=True)
    (temporary / "trained-0.safetensors").write_bytes(bytes(range(256)) * step)
    (temporary / "shard" / "optimizer.bin").write_bytes(b"moments" * step)
    complete(temporary, folder / f"step-{step:06d}", Progress(step, (smoothed,), smoothed), Strategy.ddp)
    prune(folder, keep or Keep())
    return folder / f"step-{step:06d}"


def find(folder: Path, run: Identity = RUN, resume: Resume = Resume.auto, strategy: Strategy = Strategy.ddp) -> int:
    return find_progress(folder, run, resume=resume, strategy=strategy).step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`checkpoints/` of a run that has just begun."""
    assert find(tmp_path / "checkpoints") == 0
    return tmp_path / "checkpoints"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_the_newest_and_the_best_stay(folder: Path) -> None:
    for step, smoothed in ((1, 3.0), (2, 0.5), (3, 2.0), (4, 1.0), (5, 0.9)):
        write(folder, step, smoothed, Keep(last=2, best=True))
    assert names(folder) == ["step-000002", "step-000004", "step-000005"]
    assert find_progress(folder, RUN, resume=Resume.auto, strategy=Strategy.ddp) == Progress(5, (0.9,), 0.9)
    clear_finished(folder, keep_best=True)
    assert names(folder) == ["step-000002"]
    clear_finished(folder, keep_best=False)
    assert not folder.exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no manifest", "torn manifest"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_taken(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, 1)
    newest = write(folder, 2)
    assert find_damage(newest) is None
    weights = newest / "trained-0.safetensors"
    if damage == "truncated":
        os.truncate(weights, 100)
    elif damage == "flipped":
        weights.write_bytes(b"\xff" + weights.read_bytes()[1:])
    elif damage == "missing":
        weights.unlink()
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    else:
        (newest / "manifest.json").write_text('{"step": 2, "fi')
    with caplog.at_level(logging.WARNING):
        assert find(folder) == 1
    assert str(newest) in caplog.text
    assert names(folder) == ["damaged-step-000002", "step-000001"]


@pytest.mark.parametrize("calls", range(1, 17))
def test_a_kill_at_any_moment_of_a_write_leaves_one_intact(
    folder: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """Dies at the n-th sync, rename or removal of writing step 3 and pruning step 1."""
    write(folder, 1)
    write(folder, 2)
    left = [calls]

    def dying(original: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return original(*args, **more)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync", dying(durable.sync))
        patch.setattr(module, "write_json", dying(module.write_json))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        try:
            write(folder, 3)
        except Killed:
            pass
        else:
            assert calls > 11, "the test does not reach the end of a write"
    assert find(folder) in (2, 3)
    assert find_damage(folder / f"step-{find(folder):06d}") is None
    clear_leftovers(folder)
    assert set(names(folder)) <= {"step-000001", "step-000002", "step-000003"}
    write(folder, 3)
    assert names(folder) == ["step-000002", "step-000003"]


def test_changed_data_stops_and_changed_settings_start_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder, 1)
    shrunk = Identity(RUN.settings, {"a": RUN.data["a"]})
    with pytest.raises(UserError, match=r"2 images then, 1 now; 1 images are gone \(b\).*resume=never"):
        find(folder, shrunk)
    assert names(folder) == ["step-000001"]  # nothing was touched
    assert find(folder) == 1
    with caplog.at_level(logging.INFO):
        assert find(folder, Identity({"loop.steps": "12"}, RUN.data)) == 0
    assert "loop.steps is 12 instead of 9" in caplog.text
    assert names(folder) == []


def test_never_starts_again(folder: Path) -> None:
    write(folder, 1)
    shrunk = Identity(RUN.settings, {"a": RUN.data["a"]})
    assert find(folder, shrunk, Resume.never) == 0
    assert names(folder) == []
    write(folder, 1)
    assert find(folder, shrunk) == 1


def test_shards_are_not_given_to_other_ranks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, 1)
    with pytest.raises(UserError, match=r"written by 1 ranks with launch.strategy=ddp; this run has 1 with zero2"):
        find(folder, strategy=Strategy.zero2)
    monkeypatch.setattr(module.ranks, "world_size", lambda: 2)
    assert find(folder) == 1  # without shards any number of ranks can go on


def test_a_small_disk_is_noticed_before_the_first_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    network = nn.Linear(1000, 1000)
    check_disk(folder, network, Keep())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(40 * 2**20))
    with pytest.raises(UserError, match=r"for 3 checkpoints of 15 MiB \(loop.keep_last=2\).*40 MiB free"):
        check_disk(folder, network, Keep())
    check_disk(folder, network, Keep(last=0))


def test_a_checkpoint_of_another_architecture_is_refused() -> None:
    state = module.trainable_state(nn.Linear(3, 2))
    with pytest.raises(UserError, match="another architecture or vocabulary"):
        module.load_trainable(nn.Linear(4, 2), state)
    with pytest.raises(UserError, match="parameters differ"):
        module.load_trainable(nn.Linear(3, 2, bias=False), state)


def test_checkpoints_without_an_identity_are_not_trusted(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write_json(tmp_path / "step-000001" / "progress.json", {"step": 1})
    assert find(tmp_path) == 0
