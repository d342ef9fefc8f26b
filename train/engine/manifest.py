"""Checkpoints on disk, whoever wrote what is in them: complete or not there, checked before use, of one training.

A checkpoint is a folder, `step-000050` or (by transformers) `checkpoint-50`. Its last file is `manifest.json`: which
training it belongs to, its step, the ranks that wrote it, and every other file with its size and hash. One without a
manifest, or that differs from it, was interrupted or damaged: it is set aside and the one before it taken.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_file, make_dir, read_json, write_json
from data.processes.aside import share
from train.engine import ranks
from train.engine.durable import replace_durably, sync, sync_tree

log = logging.getLogger(__name__)
MANIFEST, WRITING, REMOVING, ASIDE = "manifest.json", "writing", "removing", "damaged-"
NAME = re.compile(r"(?:step|checkpoint)-(\d+)")
ALONE = "ddp"  # nothing is sharded: any number of ranks can go on


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a checkpoint is.

    Attributes:
        identity: Fingerprint of the training that it belongs to.
        step: Finished steps.
        world: Ranks that wrote it.
        strategy: What they shared: `ddp`, or the name of a ZeRO stage.
        more: What else its training needs to go on.
    """

    identity: str
    step: int
    world: int
    strategy: str = ALONE
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keep:
    """Which checkpoints stay: the newest `last`, and the one with the smallest smoothed loss."""

    last: int = 2
    best: bool = False


def seal(folder: Path, manifest: Manifest) -> None:
    """Makes a written folder a checkpoint, once every rank has written its files: flush, manifest, flush."""
    share(folder)
    files = [path for path in sync_tree(folder) if path != folder / MANIFEST]
    listed = {path.relative_to(folder).as_posix(): [path.stat().st_size, hash_file(path)] for path in files}
    write_json(folder / MANIFEST, {**asdict(manifest), "files": listed})
    sync(folder)
    sync(folder.parent)


def begin_writing(folder: Path) -> Path:
    """An empty folder for the files of the next checkpoint, under a name that is none of a checkpoint."""
    temporary = make_dir(folder) / WRITING
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    return temporary


def publish(temporary: Path, manifest: Manifest, keep: Keep) -> None:
    """Seals what was written, gives it its name, then removes the checkpoints that need not stay."""
    seal(temporary, manifest)
    final = temporary.with_name(name_of(manifest.step))
    if final.exists():  # a damaged one of the same step
        remove(final)
    replace_durably(temporary, final)
    prune(final.parent, keep)


def name_of(step: int) -> str:
    """Directory of the checkpoint after a step."""
    return f"step-{step:06d}"


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of an intact checkpoint."""
    values = read_json(checkpoint / MANIFEST)
    return Manifest(**{key: value for key, value in values.items() if key != "files"})


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, compared with its manifest; None if it is intact."""
    if not (checkpoint / MANIFEST).is_file():
        return "it was never finished"
    try:
        files = read_json(checkpoint / MANIFEST)["files"]
    except (UserError, KeyError, TypeError):
        return f"{MANIFEST} is not readable"
    for path in (checkpoint, *checkpoint.rglob("*")):
        if path.is_symlink():
            return f"{path.name} is a link, and state is read from the run's own directory alone"
    for name, (size, digest) in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if hash_file(path) != digest:
            return f"the bytes of {name} changed"
    return None


def newest_intact(folder: Path, identity: str) -> Path | None:
    """The newest checkpoint to go on from; newer ones that are damaged, or of another training, are set aside.

    Args:
        folder: Holds the checkpoints.
        identity: Fingerprint of the training.
    """
    clear_leftovers(folder)
    for checkpoint in reversed(list_checkpoints(folder)):
        problem = find_damage(checkpoint)
        if problem is None and read_manifest(checkpoint).identity != identity:
            problem = "it belongs to another training"
        if problem is None:
            return checkpoint
        log.warning("%s is damaged (%s): it is set aside, and the one before it taken", checkpoint, problem)
        aside = checkpoint.with_name(f"{ASIDE}{checkpoint.name}")
        shutil.rmtree(aside, ignore_errors=True)
        checkpoint.rename(aside)
    return None


def check_ranks(checkpoint: Path, strategy: str, *, key: str) -> None:
    """Refuses shards that were written for other ranks; otherwise any number can go on.

    Args:
        checkpoint: An intact one.
        strategy: What the ranks share now.
        key: The setting that says so, for the message.

    Raises:
        UserError: If the checkpoint's shards fit no rank of this run.
    """
    manifest = read_manifest(checkpoint)
    written, now = (manifest.strategy, manifest.world), (strategy, ranks.world_size())
    if written == now:
        return
    if (written[0], now[0]) != (ALONE, ALONE):
        raise UserError(
            f"{checkpoint} was written by {written[1]} ranks with {key}={written[0]}; this run has {now[1]} with "
            f"{now[0]}, and ZeRO's shards fit no other. Start it as before, or again with resume=never."
        )
    log.warning("%s is by %d ranks, now there are %d: losses agree up to rounding", checkpoint, written[1], now[1])


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by step, whole or not."""
    return [path for _, path in sorted(_numbered(folder))]


def prune(folder: Path, keep: Keep) -> None:
    """Removes the checkpoints that need not stay."""
    found = list_checkpoints(folder)
    staying = set(found[-max(1, keep.last) :])
    if keep.best and (best := find_best(folder)):
        staying.add(best)
    for path in found:
        if path not in staying:
            remove(path)


def find_best(folder: Path) -> Path | None:
    """The checkpoint with the smallest smoothed loss."""
    whole = [path for path in list_checkpoints(folder) if (path / MANIFEST).is_file()]
    return min(whole, key=lambda path: read_manifest(path).more["smoothed"], default=None)


def clear_leftovers(folder: Path) -> None:
    """Removes what an interrupted write or removal left behind."""
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    shutil.rmtree(folder / REMOVING, ignore_errors=True)


def remove(checkpoint: Path) -> None:
    """Removes a checkpoint; one that is half removed no longer looks like one."""
    going = checkpoint.parent / REMOVING
    shutil.rmtree(going, ignore_errors=True)
    checkpoint.rename(going)
    shutil.rmtree(going)


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if (found := NAME.fullmatch(path.name)) and path.is_dir():
            yield int(found[1]), path
