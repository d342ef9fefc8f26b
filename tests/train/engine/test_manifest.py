"""Complete or not there, checked before use, of this very training; killed at any point of a write."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from train.engine import durable
from train.engine import manifest as module
from train.engine.manifest import (
    Keep,
    Manifest,
    begin_writing,
    check_ranks,
    clear_leftovers,
    find_best,
    find_damage,
    newest_intact,
    publish,
    read_manifest,
    seal,
)

OWN = "this training"


class Killed(BaseException):
    """Stands for a power cut."""


def write(folder: Path, step: int, smoothed: float = 1.0, keep: Keep | None = None) -> Path:
    temporary = begin_writing(folder)
    (temporary / "shard").mkdir()
    (temporary / "trained-0.safetensors").write_bytes(bytes(range(256)) * step)
    (temporary / "shard" / "optimizer.bin").write_bytes(b"moments" * step)
    manifest = Manifest(identity=OWN, step=step, world=1, more={"smoothed": smoothed})
    publish(temporary, manifest, keep or Keep())
    return folder / f"step-{step:06d}"


def find(folder: Path) -> int:
    newest = newest_intact(folder, OWN)
    return read_manifest(newest).step if newest else 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`checkpoints/` of a run that has just begun."""
    assert find(tmp_path / "checkpoints") == 0
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_state_is_read_from_the_run_s_own_directory_alone(folder: Path, tmp_path: Path) -> None:
    write(folder, 1)
    newest = write(folder, 2)
    stranger = newest / "shard" / "optimizer.bin"
    stranger.rename(tmp_path / "optimizer.bin")
    stranger.symlink_to(tmp_path / "optimizer.bin")  # the same bytes, for now
    assert find_damage(newest) == "optimizer.bin is a link, and state is read from the run's own directory alone"
    assert find(folder) == 1
    shutil.move(folder / "step-000001", tmp_path / "elsewhere")
    (folder / "step-000001").symlink_to(tmp_path / "elsewhere")
    assert find(folder) == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_others_may_read_a_checkpoint_as_they_may_any_other_file(folder: Path, tmp_path: Path) -> None:
    temporary = begin_writing(folder)
    (temporary / "trained-0.safetensors").touch(mode=0o600)  # as safetensors does
    publish(temporary, Manifest(identity=OWN, step=1, world=1, more={"smoothed": 1.0}), Keep())
    (tmp_path / "any").touch()
    modes = {path.stat().st_mode for path in (folder / "step-000001").iterdir()}
    assert modes == {(tmp_path / "any").stat().st_mode}


def test_the_newest_and_the_best_stay(folder: Path) -> None:
    for step, smoothed in ((1, 3.0), (2, 0.5), (3, 2.0), (4, 1.0), (5, 0.9)):
        write(folder, step, smoothed, Keep(last=2, best=True))
    assert names(folder) == ["step-000002", "step-000004", "step-000005"]
    assert find(folder) == 5
    assert find_best(folder) == folder / "step-000002"


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


def test_shards_are_not_given_to_other_ranks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = write(folder, 1)
    with pytest.raises(UserError, match=r"written by 1 ranks with launch.strategy=ddp; this run has 1 with zero2"):
        check_ranks(checkpoint, "zero2", key="launch.strategy")
    monkeypatch.setattr(module.ranks, "world_size", lambda: 2)
    check_ranks(checkpoint, "ddp", key="launch.strategy")  # without shards any number of ranks can go on
    seal(checkpoint, Manifest(identity=OWN, step=1, world=1, strategy="zero2"))
    with pytest.raises(UserError, match=r"written by 1 ranks with optim\.deepspeed=zero2; this run has 2 with zero2"):
        check_ranks(checkpoint, "zero2", key="optim.deepspeed")


def test_one_of_another_training_is_set_aside_not_loaded(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder, 1)
    seal(write(folder, 2), Manifest(identity="another", step=2, world=1))
    with caplog.at_level(logging.WARNING):
        assert find(folder) == 1
    assert "belongs to another training" in caplog.text
    assert names(folder) == ["damaged-step-000002", "step-000001"]


def test_folders_of_transformers_trainer_are_checkpoints_in_the_order_of_their_steps(folder: Path) -> None:
    for step in (2, 10, 8):
        (folder / f"checkpoint-{step}" / "global_step").mkdir(parents=True)
        (folder / f"checkpoint-{step}" / "global_step" / "rank_0.pt").write_bytes(b"x" * 99)
        seal(folder / f"checkpoint-{step}", Manifest(identity=OWN, step=step, world=2))
    (folder / "checkpoint-last").mkdir()
    assert find(folder) == 10
    (folder / "checkpoint-10" / "global_step" / "rank_0.pt").write_bytes(b"y" * 99)
    assert find(folder) == 8
