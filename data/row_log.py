"""Rows on their way to a JSON-lines file, by one process: several at a time, for each write waits for the disk.

Where several ranks write, each has a log of its own beside the common one, `<name>.rank<N>.jsonl`, which one of them
takes into `<name>.jsonl` at the end, or at the next start where they were interrupted.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.files import append_jsonl, read_jsonl
from data.processes.lock import held
from data.ranks import Ranks

ROWS, SECONDS = 32, 1.0  # at most so many rows, or rows of so long ago, are lost when the process is killed


class RowLog:
    """Appends rows to a log; all are on disk when the `with` block is left, also by an error.

    Within the block no other process may write to the log: entering it raises `UserError` if one does.

    Args:
        path: The log.
        is_held: Whether whoever opens it holds it already, for longer than the block.
    """

    def __init__(self, path: Path, *, is_held: bool = False) -> None:
        self.path = path
        self.is_held = is_held
        self._rows: list[dict[str, Any]] = []
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        """Starts the block."""
        self._alone = nullcontext() if self.is_held else held(self.path)
        self._alone.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is left."""
        try:
            self.flush()
        finally:
            self._alone.__exit__(None, None, None)

    def add(self, row: dict[str, Any]) -> None:
        """Takes a row, and writes what has piled up if it is many rows or has waited long."""
        self._rows.append(row)
        if len(self._rows) >= ROWS or time.monotonic() - self._written > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes every row that was taken."""
        if self._rows:
            append_jsonl(self.path, self._rows)
        self._rows, self._written = [], time.monotonic()


def own_log(path: Path, ranks: Ranks) -> Path:
    """Where this rank writes what belongs into a log."""
    return path if ranks.world == 1 else path.with_name(f"{path.stem}.rank{ranks.rank}{path.suffix}")


def take_in(path: Path, order: Sequence[str] = ()) -> None:
    """Moves what ranks have written on their own to the end of a log. Only one rank may call it, while none writes.

    Args:
        path: The log.
        order: Keys of rows, in the order in which one process would have written them.
    """
    parts = sorted(path.parent.glob(f"{glob.escape(path.stem)}.rank*{path.suffix}"))
    rows = [row for part in parts for row in read_jsonl(part)]
    places = {key: place for place, key in enumerate(order)}
    if rows:
        append_jsonl(path, sorted(rows, key=lambda row: places.get(row["key"], -1)))
    for part in parts:
        part.unlink()
