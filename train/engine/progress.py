"""Log rows on disk, and words on the screen while something slow says nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.files import append_jsonl, read_jsonl, write_jsonl

log = logging.getLogger(__name__)
QUIET_SECONDS = 5.0
GROUP = 20


class LogRows:
    """Rows of one training stage in a log that several stages share.

    A stage that starts again, or goes on from a checkpoint, replaces its own rows from that step on.
    """

    def __init__(self, path: Path, *, stage: str) -> None:
        """Remembers where to write; nothing is written before the first row."""
        self.path, self.stage = path, stage
        self.waiting: list[dict[str, Any]] = []
        self.started = False

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row with its `step`; rows reach the disk in groups."""
        if not self.started:
            self._drop_from(row["step"])
            self.started = True
        self.waiting.append({"stage": self.stage, **row})
        if len(self.waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting."""
        append_jsonl(self.path, self.waiting)
        self.waiting = []

    def _drop_from(self, step: int) -> None:
        if self.path.is_file():
            rows = read_jsonl(self.path)
            write_jsonl(self.path, (row for row in rows if row["stage"] != self.stage or row["step"] < step))


@contextmanager
def talking(text: str) -> Iterator[Callable[[], None]]:
    """Says `text` whenever nothing has been said for a while; yields what to call after saying something."""
    ended = threading.Event()
    begun = time.monotonic()
    last = [begun]

    def said() -> None:
        last[0] = time.monotonic()

    def watch() -> None:
        while not ended.wait(1.0):
            if time.monotonic() - last[0] > QUIET_SECONDS:
                said()
                log.info("%s (%.0f s)", text, last[0] - begun)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()
