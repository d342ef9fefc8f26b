"""Checkpoints that a framework writes file by file: sealed when they are complete, so that torn ones are told apart.

The seal is the last file of a checkpoint. It lists every other file with its size, and is written when all of them are
on the disk; a checkpoint without a seal, or that differs from it, was interrupted or damaged.
"""

from __future__ import annotations

import json
import logging
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from data.files import write_json
from train.engine.durable import sync, sync_tree

log = logging.getLogger(__name__)
SEAL = "complete.json"
STATE = "trainer_state.json"
ZIPPED = (".pt", ".pth", ".bin")  # torch's own format is a zip archive with checksums


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An intact checkpoint of transformers' trainer.

    Attributes:
        path: Its folder.
        step: Steps that were done.
        steps: Steps of the whole training.
        world: Processes that wrote it.
        history: Its log, one entry a logged step.
    """

    path: Path
    step: int
    steps: int
    world: int
    history: list[dict[str, Any]]

    @property
    def is_last(self) -> bool:
        """Whether nothing is left to train."""
        return self.step >= self.steps


def seal(folder: Path, *, world: int) -> None:
    """Marks a checkpoint as complete, once every rank has written its files.

    Args:
        folder: The checkpoint.
        world: Processes that wrote it.
    """
    files = [path for path in sync_tree(folder) if path.name != SEAL]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_json(folder / SEAL, {"world": world, "files": sizes})
    sync(folder)
    sync(folder.parent)


def find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is intact."""
    try:
        files = json.loads((folder / SEAL).read_text())["files"]
    except FileNotFoundError:
        return "it was never finished"
    except (ValueError, KeyError, TypeError):
        return f"{SEAL} is not readable"
    for name, size in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if reason := _find_damage_inside(path):
            return f"{name}: {reason}"
    return None if STATE in files else f"{STATE} is missing"


def newest_intact(folder: Path) -> Checkpoint | None:
    """The newest checkpoint under `folder` that is intact; says which newer ones are not. Changes nothing."""
    for path in _by_step(folder):
        damage = find_damage(path)
        if damage is None:
            state = json.loads((path / STATE).read_text())
            world = json.loads((path / SEAL).read_text())["world"]
            return Checkpoint(path, state["global_step"], state["max_steps"], world, state["log_history"])
        log.warning("%s is damaged (%s): looking for the one before it", path, damage)
    return None


def remove_damaged(folder: Path) -> None:
    """Removes what `newest_intact` passed over, so that the steps to come can write it anew."""
    for path in _by_step(folder):
        if find_damage(path) is None:
            return
        shutil.rmtree(path)


def _by_step(folder: Path) -> list[Path]:
    numbered = [(path, path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*")]
    found = [(int(number), path) for path, number in numbered if number.isdigit() and path.is_dir()]
    return [path for _, path in sorted(found, reverse=True)]


def _find_damage_inside(path: Path) -> str | None:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                file.keys()
        elif path.suffix in ZIPPED:
            with zipfile.ZipFile(path) as archive:
                if (name := archive.testzip()) is not None:
                    return f"{name} has a wrong checksum"
        elif path.suffix == ".json":
            json.loads(path.read_text())
    except (SafetensorError, zipfile.BadZipFile, ValueError, OSError) as error:
        return f"not readable ({error})"
    return None
