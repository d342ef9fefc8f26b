"""SIGTERM, as schedulers send it before they kill: training saves after the step at hand and exits with 143."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from train.engine import ranks

log = logging.getLogger(__name__)
EXIT_CODE = 128 + signal.SIGTERM  # as shells expect


class Stop:
    """Whether the process was asked to end.

    Attributes:
        requested: SIGTERM came while a training loop was running; the loop saves after its step, then calls `leave`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._in_loop = False

    @contextmanager
    def after_step(self) -> Iterator[None]:
        """Within the block, a loop that looks at `requested` after every step, SIGTERM only asks."""
        self._in_loop = True
        try:
            yield
        finally:
            self._in_loop = False

    def leave(self, saved: str) -> NoReturn:
        """Exits with 143; the main rank says why.

        Args:
            saved: What was saved, for the message.

        Raises:
            SystemExit: Always.
        """
        if ranks.is_main():
            log.warning("asked to end: %s is saved; run the same command again to go on.", saved)
        raise SystemExit(EXIT_CODE)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handles the signal; where no loop is running, the process ends at once.

        Within a loop a second signal asks nothing new: a scheduler signals every process and torchrun its ranks again.
        """
        if not self._in_loop:
            raise SystemExit(EXIT_CODE)
        self.requested = True


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within the block SIGTERM ends training politely; in another thread than the main one nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def ignore_stop(worker: int) -> None:
    """For data-loading processes: a SIGTERM to the whole group is the training process's to answer."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
