"""One writer at a place: an output folder, a log, a cache. The second one is told at once who the first is.

`with held(out):` around everything that writes to `out`. The lock of PATH is the file `.NAME.lock` beside it, where no
listing or hash of a folder's contents meets it; in the folder itself where the parent cannot be written. It holds who
has it, as JSON, and goes with the block. What counts is the kernel's lock on that file (`flock`), which ends with its
process however that ends: a file that a killed process left behind blocks nobody.

Several places may be held at once, and a place inside one that is held: a name is locked, not a tree. Reading needs no
lock, for what is read appears whole: files are written aside and renamed, and a folder says when it is complete.

On network file systems `flock` reaches as far as the file system makes it: NFS passes it to the server, so that two
machines exclude each other; some mounts (`nolock`, Lustre without `flock`) keep it to one machine. Where there is no
lock at all a warning says so, and the work goes on.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from data.errors import UserError, brief
from data.files import make_dir

log = logging.getLogger(__name__)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without flock answer


def _call(take: Callable[[], None]) -> None:
    take()


@contextmanager
def held(*places: Path, by: Callable[[Callable[[], None]], object] = _call, wait: float = 0.0) -> Iterator[None]:
    """Within the block this process alone writes to some places.

    Args:
        places: Files or folders, there or not; their parents are made.
        by: Calls a function on one rank and raises on all of them what it raises: `Ranks.once` or `main_decides`. The
            others must not be writing any more when that rank leaves the block.
        wait: Seconds to wait for another process, for what takes a moment; 0 gives up at once.

    Raises:
        UserError: If another process holds one of them: which one, on which machine, since when. Or if a place cannot
            be written.
    """
    with ExitStack() as stack:

        def take() -> None:
            for place in places:
                stack.callback(_release, _acquire(place, wait))

        by(take)
        yield


def lock_file(place: Path) -> Path:
    """The file whose lock stands for a place, whatever links and relative paths the place is named by."""
    place = place.resolve()
    if place.is_dir() and not os.access(place.parent, os.W_OK):
        return place / ".lock"
    return make_dir(place.parent) / f".{place.name}.lock"


def _acquire(place: Path, wait: float) -> BaseFileLock | None:
    path = lock_file(place)
    lock = FileLock(path, timeout=wait, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire(poll_interval=0.02)
    except Timeout as error:
        raise UserError(
            f"{place} is in use by {_read_holder(path)}. Wait until that has ended, or write to another place."
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise UserError(f"Cannot write to {place}: {error.strerror} ({path}). Choose another place.") from error
        log.warning("%s is not locked: its file system has no locks. Take care that nobody else writes there.", place)
        return None
    return lock


def _release(lock: BaseFileLock | None) -> None:
    if lock is not None:
        Path(lock.lock_file).unlink(missing_ok=True)  # first: whoever opened it meanwhile sees that it is gone
        lock.release()


def _sign(descriptor: int) -> None:
    """Writes who holds the lock into its file."""
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    told = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, told.encode(), 0)


def _read_holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return f"process {told['process']} on {brief(told['host'])[1:-1]} since {brief(told['since'])[1:-1]}"
    except (OSError, ValueError, TypeError, KeyError):  # it is just being written, or removed
        return "another process"
