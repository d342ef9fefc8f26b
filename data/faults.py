"""What a reader does about a fault in a dataset: it stops, unless somebody collects the faults.

A reader says `report(code, file, message)` where it can go on without the faulty part, and wraps what yields one
sample in `with reporting(code, file):`. On its own either raises `UserError` at the first fault. Inside
`collect_faults` the fault is noted, the faulty part left out, and the reader goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from data.errors import UserError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a dataset.

    Attributes:
        code: A stable name such as `missing-mask`.
        file: The file at fault.
        message: The whole message.
        image: The image that cannot be used for it, where `file` is neither that image nor its mask.
    """

    code: str
    file: Path
    message: str
    image: Path | None = None


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


def report(code: str, file: Path, message: str, image: Path | None = None) -> None:
    """Notes a fault (see `Fault`) and returns while faults are collected.

    Raises:
        UserError: With the message, when nobody collects.
    """
    faults = _collected.get()
    if faults is None:
        raise UserError(message)
    faults.append(Fault(code, file, message, image))


class reporting:  # noqa: N801  (reads as a statement; a class, because a generator costs seconds in a large dataset)
    """Reports any `UserError` of the block under a code and a file, and goes on behind the block."""

    __slots__ = ("_code", "_file")

    def __init__(self, code: str, file: Path) -> None:
        self._code, self._file = code, file

    def __enter__(self) -> None:
        """Begins the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Swallows a `UserError` while faults are collected."""
        if not isinstance(error, UserError) or _collected.get() is None:
            return False
        report(self._code, self._file, str(error))
        return True


@contextmanager
def collect_faults() -> Iterator[list[Fault]]:
    """Within the block, faults do not stop a reader: they go into the list."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)
