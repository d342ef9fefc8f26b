"""Processes that end with the one that started them, however that one ends: killed, hung up, its terminal closed.

Three kinds: workers of `multiprocessing`, which are nothing without the process that feeds them; modules that are
started as commands; and the ranks of torchrun, to each of which it gives a session of its own. In all of them a thread
watches the other process, which works on every system and asks nothing of it.

`python -m data.processes.lifeline PROCESS MODULE …` is `python -m MODULE …`, ended after that process is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence

LOOK_SECONDS = 0.5
GRACE_SECONDS = 10.0  # for a training to save what it has
_watched: list[int] = []  # the launcher, once


def end_with_parent() -> None:
    """For a worker of `multiprocessing`, whatever started it: it ends as soon as its parent is gone."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def command_line(arguments: Sequence[str]) -> list[str]:
    """What runs a module in a process that does not outlive this one.

    Args:
        arguments: What follows `python -m`.
    """
    return [sys.executable, "-u", "-m", "data.processes.lifeline", str(os.getpid()), *arguments]


def end_with(starter: int) -> None:
    """Ends this process after its parent is gone: politely first, so that a training saves.

    What it has started goes with it where it leads a process group.

    Args:
        starter: The parent; that it is another one by now says that it is gone already.
    """

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def end_with_launcher() -> None:
    """For a rank: it ends after the torchrun that started it, if one did, is gone."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not _watched:
        _watched.append(os.getppid())
        end_with(os.getppid())


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
