"""The checkpoints that ship with the code, by a name that a run can keep wherever it is moved.

    shipped:mdlm/llava@5634e571ad8fdac8     below models/tiny/checkpoints; the hash is that of its weights

A path would lead nowhere on another machine, and to another checkpoint once a later version ships a better one.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from data.errors import UserError
from data.run import SHIPPED
from models.weights.shards import name_weights

PREFIX = "shipped:"


class TinyBase(StrEnum):
    """Which bases the tiny preset starts from: those that ship with the code, or those that a run makes for itself."""

    shipped = "shipped"
    train = "train"


def name_shipped(place: str | Path) -> str | None:
    """Names a checkpoint that ships; None for any other place.

    Args:
        place: Folder or file.

    Raises:
        UserError: If it should be there and is not, or is not whole.
    """
    path = Path(place).resolve()
    if not path.is_relative_to(SHIPPED):
        return None
    if not path.exists():
        raise UserError(f"{path} is missing, which ships with the code. Restore it: git checkout {SHIPPED}")
    return f"{PREFIX}{path.relative_to(SHIPPED).as_posix()}@{name_weights(path)}"


def find_shipped(name: str) -> Path:
    """The folder or file that a name stands for.

    Raises:
        UserError: If this version of the code ships another one.
    """
    place, _, weights = name.removeprefix(PREFIX).partition("@")
    path = SHIPPED / place
    if not path.exists() or name_weights(path) != weights:
        raise UserError(
            f"This was trained on {name}, and the code here ships another checkpoint at {path}. Train it again, or "
            "check out the version of the code that it was trained with."
        )
    return path


def is_shipped(name: str) -> bool:
    """Whether a text is such a name."""
    return name.startswith(PREFIX)


def check_base(base: TinyBase, preset: str) -> None:
    """Refuses to make bases for a preset that starts from others.

    Raises:
        UserError: If they do not go together.
    """
    if base is TinyBase.train and preset != "tiny":
        raise UserError(f"base=train is for preset=tiny; preset={preset} starts from others. Leave it out.")
