"""Rows on their way to a JSON-lines file: written several at a time, because each write waits for the disk."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.files import append_jsonl

ROWS, SECONDS = 32, 1.0  # at most so many rows, or rows of so long ago, are lost when the process is killed


class RowLog:
    """Appends rows to a log; all are on disk when the `with` block is left, also by an error.

    Args:
        path: The log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        """Starts the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is left."""
        self.flush()

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
