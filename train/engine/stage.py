"""One rule for what a training finds where it is to write: go on with its own, refuse another's, delete nothing."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value, make_dir, read_json, write_json
from data.processes.lock import held
from train.engine import ranks
from train.engine.identity import Identity, describe_change
from train.engine.manifest import MANIFEST
from train.engine.resume import Resume

CHECKPOINT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".jinja", ".py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A training as it lies on the disk.

    Attributes:
        name: For messages.
        done: Written last; as long as it is not there the training is unfinished.
        identity: What is trained here, or was.
        work: Folder of its checkpoints, and of all that is only needed to go on.
        result: What must be there when it is finished.
    """

    name: str
    done: Path
    identity: Path
    work: Path
    result: Path


def alone(*places: Path) -> AbstractContextManager[None]:
    """Within the block only the ranks of this training write to some places.

    Raises:
        UserError: On every rank, if another process does.
    """
    return held(*places, by=ranks.main_decides)


def claim(stage: Stage, identity: Identity, resume: Resume) -> bool:
    """Takes a stage's place for a training of this identity; for the main rank alone.

    Args:
        stage: Where.
        identity: All that decides the result.
        resume: `never` starts again, and what is there is replaced.

    Returns:
        Whether this very training is finished already.

    Raises:
        UserError: If the place is taken by a training of other settings or data. Nothing is touched then.
    """
    known = Identity.from_json(read_json(stage.identity)) if stage.identity.is_file() else None
    same = known is not None and known.fingerprint == identity.fingerprint
    finished = stage.done.is_file() and stage.result.exists()
    if resume is Resume.never:
        stage.done.unlink(missing_ok=True)
        shutil.rmtree(stage.work, ignore_errors=True)
    elif same and finished:
        return True
    elif not same and (finished or any(stage.work.rglob(MANIFEST))):
        change = "does not say of what settings" if known is None else f"is another: {describe_change(known, identity)}"
        raise UserError(
            f"{stage.name}: the training in {stage.done.parent} {change}. Restore that to go on with it, give another "
            "run_dir, or replace it with resume=never."
        )
    elif not same:
        shutil.rmtree(stage.work, ignore_errors=True)  # no checkpoint is in it
    write_json(make_dir(stage.identity.parent) / stage.identity.name, identity.as_json())
    return False


def finish(stage: Stage, identity: Identity, settings: dict[str, Any]) -> None:
    """Marks a stage as finished; the last thing it writes."""
    write_json(stage.done, {**settings, "fingerprint": identity.fingerprint})


def name_checkpoint(place: str | None) -> str:
    """What stands for a checkpoint in an identity: the hash of what its file or folder holds; for a hub id, the id."""
    path = Path(place) if place else None
    if path is None or not path.exists():
        return str(place)
    files = [path] if path.is_file() else [one for one in sorted(path.rglob("*")) if one.suffix in CHECKPOINT_FILES]
    return hash_value([(one.relative_to(path).as_posix(), digest) for one, digest in hash_files(files).items()])[:16]
