"""What files hold, found out once: identity of data is content, never a name, a path or a time.

Hashing a dataset reads all of it; asking whether it changed should not. So what a file holds is remembered, and holds
as long as its size, its times of change (mtime and ctime, in nanoseconds) and its inode are the same: a file that was
copied over, restored with its old time, or swapped by a rename is read again.

There is one memory a user, not one a run, because trainings, evaluations, the doctor and the report read the same
datasets: `content.sqlite` in the folder that `EIAD_CACHE` names, else in `eiad` in the user's cache directory. SQLite
locks it while it is written, so processes side by side lose nothing. It may be deleted at any time. Where it cannot be
read or written, a warning says so and everything is read as if it were new.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data.errors import UserError
from data.files import hash_file, hash_value, make_dir
from data.masks import MaskFile, MaskFiles, Polygons
from data.sample import Sample

log = logging.getLogger(__name__)
SETTLED_SECONDS = 2.0  # a file that changed later than this may change again under the same time: clocks tick coarsely
SAVE_SECONDS = 3.0  # at most so much work is lost when a process is killed
WAIT_SECONDS = 60.0  # for another process that writes
BATCH = 500  # paths a question to the database
BLOCK = 2048  # files handed to the threads at a time
TABLE = """CREATE TABLE IF NOT EXISTS seen
    (kind TEXT, path BLOB, state TEXT, value TEXT, PRIMARY KEY (kind, path)) WITHOUT ROWID"""


class State(NamedTuple):
    """What the file system tells of a file without opening it: bytes, two times of change in ns, and its inode."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> State:
        """What `Path.stat` found."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def state_of(path: Path) -> State:
    """The state of a file, links followed.

    Raises:
        UserError: If the file is missing or cannot be looked at.
    """
    try:
        return State.of(path.stat())
    except OSError as error:
        raise UserError(f"Cannot find {path}: {error.strerror}. Check the folder, or download it again.") from error


def cache_folder() -> Path:
    """`EIAD_CACHE`, else `eiad` in the user's cache directory."""
    if folder := os.environ.get("EIAD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eiad"


class Memory:
    """What was found in files, as text by kind and path; each value counts while the state of its file is the same.

    Every call opens the database and closes it again, so a memory may be used from any process or thread.

    Args:
        path: The database; None is `content.sqlite` in `cache_folder()`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "content.sqlite"
        self.broken = False

    def recall(self, kind: str, states: Mapping[Path, State]) -> dict[Path, str]:
        """Values of the files whose state is still the one they were remembered with.

        Args:
            kind: What was looked for.
            states: The files, and their states now.
        """
        found: dict[Path, str] = {}
        keys = {_key(path): path for path in states}
        asked = iter(keys)
        try:
            if not self.path.is_file():
                return found
            with closing(self._open()) as database:
                while batch := list(islice(asked, BATCH)):
                    marks = ",".join("?" * len(batch))
                    question = f"SELECT path, state, value FROM seen WHERE kind = ? AND path IN ({marks})"
                    for key, state, value in database.execute(question, [kind, *batch]):
                        if state == _text(states[keys[key]]):
                            found[keys[key]] = value
        except (sqlite3.Error, OSError) as error:
            self._report(error)
        return found

    def remember(self, kind: str, found: Sequence[tuple[Path, State, str]], *, since: float) -> None:
        """Keeps values for later calls, except those of files that changed meanwhile or a moment ago.

        Args:
            kind: What was looked for.
            found: Files, their states before they were read, and the values.
            since: `time.time()` before the states were taken.
        """
        if self.broken or not found:
            return
        rows = [
            (kind, _key(path), _text(state), value)
            for path, state, value in found
            if since - state.ctime / 1e9 > SETTLED_SECONDS and _is_still(path, state)
        ]
        try:
            make_dir(self.path.parent)
            with closing(self._open()) as database, database:
                database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", rows)
        except (sqlite3.Error, OSError, UserError) as error:
            self._report(error)

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        try:
            database.execute(TABLE)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _report(self, error: Exception) -> None:
        """Says what is wrong once; a damaged database is thrown away, for it only holds what can be found out again."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            log.warning("The memory %s is damaged (%s): starting afresh.", self.path, error)
            self.path.unlink(missing_ok=True)
        elif not self.broken:
            self.broken = True
            log.warning(
                "What was read is not remembered: %s cannot be used (%s). Set EIAD_CACHE to a folder that can be "
                "written.",
                self.path,
                error,
            )


def hash_files(paths: Iterable[Path], *, workers: int | None = None, memory: Memory | None = None) -> dict[Path, str]:
    """SHA-256 of the bytes of files, as 64 hex digits; only files that changed since they were last hashed are read.

    Args:
        paths: The files; one that comes twice is read once.
        workers: Threads that read; None is one a processor, at least four, for disks answer several at a time.
        memory: Where hashes are remembered; None is the user's.

    Returns:
        The hash of each path, in the order of the paths.

    Raises:
        UserError: If a file is missing or cannot be read.
    """
    memory, since = memory or Memory(), time.time()
    states = {path: state_of(path) for path in paths}
    hashes = memory.recall("sha256", states)
    pending = [path for path in states if path not in hashes]
    unsaved: list[tuple[Path, State, str]] = []
    saved = time.monotonic()
    try:
        for path, digest in _read(pending, workers or max(4, os.cpu_count() or 1)):
            hashes[path] = digest
            unsaved.append((path, states[path], digest))
            if time.monotonic() - saved > SAVE_SECONDS:
                memory.remember("sha256", unsaved, since=since)
                unsaved, saved = [], time.monotonic()
    finally:
        memory.remember("sha256", unsaved, since=since)
    return {path: hashes[path] for path in states}


def hash_samples(samples: Sequence[Sample], *, workers: int | None = None, memory: Memory | None = None) -> list[str]:
    """A hash for each sample over what it shows and what is marked on it, in the order of the samples.

    The image counts with its bytes; the mask with its files' bytes, threshold and names of pixel values, or with its
    polygons. Paths, ids, categories and names of defects do not: combine the hash with those that matter.

    Args:
        samples: The samples.
        workers: As in `hash_files`.
        memory: As in `hash_files`.

    Raises:
        UserError: If an image or a mask is missing or cannot be read.
    """
    hashes = hash_files((path for sample in samples for path in content_files(sample)), workers=workers, memory=memory)
    return [hash_value([hashes[sample.image], _describe_mask(sample, hashes)]) for sample in samples]


def content_files(sample: Sample) -> tuple[Path, ...]:
    """The image of a sample and the files that its mask is decoded from; polygons are part of the sample itself."""
    if isinstance(sample.mask, MaskFile):
        return sample.image, sample.mask.path
    return (sample.image, *sample.mask.paths) if isinstance(sample.mask, MaskFiles) else (sample.image,)


def _describe_mask(sample: Sample, hashes: Mapping[Path, str]) -> list | None:
    mask = sample.mask
    if isinstance(mask, MaskFile):
        return [hashes[mask.path], mask.threshold]
    if isinstance(mask, MaskFiles):
        return [[hashes[path] for path in mask.paths], mask.threshold, mask.names]
    return [mask.points, mask.parts] if isinstance(mask, Polygons) else None


def _read(paths: Sequence[Path], workers: int) -> Iterator[tuple[Path, str]]:
    """Hashes files in threads, for reading and hashing run outside of Python's lock."""
    if not paths:
        return
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            yield from zip(block, pool.map(_hash, block), strict=True)


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}. Check its permissions, or download it again."
        ) from error


def _key(path: Path) -> bytes:
    return os.fsencode(path.absolute())


def _text(state: State) -> str:
    return " ".join(map(str, state))


def _is_still(path: Path, before: State) -> bool:
    """Whether a file is what it was before it was read."""
    try:
        return state_of(path) == before
    except UserError:
        return False
