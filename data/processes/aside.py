"""Files that appear whole: written under a hidden name beside their own, which they get at the end.

What a killed process leaves behind is told by its name, `.NAME.HOST-PROCESS-RANDOM.part`: the next process that writes
into that folder removes it, unless it is of a process that lives, or of another machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import writing

PART = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")
_cleared: set[Path] = set()  # folders that this process has looked through


@contextmanager
def written_aside(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A name for a temporary file beside `path`, which replaces it when the block succeeds.

    The file has the permissions that the process gives any file, whatever its writer set: safetensors keeps its files
    from everyone else.

    Args:
        path: In a folder that exists.
        durable: Whether it is on the disk before it gets its name, and so outlives a crash of the machine.

    Raises:
        UserError: If the disk is full, or the file cannot be written there; see `storage_error`.
    """
    clear_leftovers(path.parent)
    temporary = path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        with writing(path):
            yield temporary
            share(temporary)
            if durable:
                _sync(temporary)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def clear_leftovers(folder: Path) -> None:
    """Removes what processes of this machine that are gone left half-written in a folder; looks once a process."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    for entry in os.scandir(folder) if folder.is_dir() else ():
        found = PART.fullmatch(entry.name)
        if found and found[1] == _host() and not _lives(int(found[2])):
            Path(entry.path).unlink(missing_ok=True)


def share(path: Path) -> None:
    """Gives a file, or the files in a folder, the permissions that this process gives any file it makes."""
    umask = _umask()
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(0o666 & ~umask)


def _umask() -> int:
    """What this process takes from the permissions of its files."""
    try:
        if told := re.search(
            r"^Umask:\s*([0-7]+)", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE
        ):
            return int(told[1], 8)
    except OSError:  # not Linux
        pass
    umask = os.umask(0o077)  # it can only be read by setting it: files that threads open meanwhile get this one
    os.umask(umask)
    return umask


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
