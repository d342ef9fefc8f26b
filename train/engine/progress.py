"""Log rows on disk, and words on the screen while something slow says nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.files import append_jsonl, read_jsonl, write_jsonl
from data.processes.lock import held

log = logging.getLogger(__name__)
QUIET_SECONDS = 5.0
GROUP = 20
WAIT_SECONDS = 60.0  # for another stage that writes to the log


class LogRows:
    """Rows of a training in a log that others may share.

    A training that starts again, or goes on from a checkpoint, replaces its own rows from that step on.
    """

    def __init__(self, path: Path, *, stage: str = "") -> None:
        """Remembers where to write; nothing is written before the first row.

        Args:
            path: The log.
            stage: What tells the rows from those of others in the same log; empty where it has a log of its own.
        """
        self.path, self.mark = path, {"stage": stage} if stage else {}
        self.waiting: list[dict[str, Any]] = []
        self.started = False

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row with its `step`; rows reach the disk in groups."""
        if not self.started:
            self._drop_from(row["step"])
            self.started = True
        self.waiting.append({**self.mark, **row})
        if len(self.waiting) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting."""
        with held(self.path, wait=WAIT_SECONDS):
            append_jsonl(self.path, self.waiting)
        self.waiting = []

    def _drop_from(self, step: int) -> None:
        if self.path.is_file():
            stage = self.mark.get("stage")
            with held(self.path, wait=WAIT_SECONDS):
                rows = read_jsonl(self.path)
                write_jsonl(self.path, (row for row in rows if row.get("stage") != stage or row["step"] < step))


def join_logs(target: Path, parts: Mapping[str, Path]) -> None:
    """Puts the logs of the parts of a base into one, each row with its part; rows of other stages stay.

    Args:
        target: The log that gets them, as stage `base`.
        parts: Name of a part → its own log, in the order of the training.
    """
    logged = LogRows(target, stage="base")
    for part, path in parts.items():
        for row in read_jsonl(path):
            logged.add({"part": part, **row})
    logged.flush()


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
