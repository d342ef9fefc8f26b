"""Looks into many files in parallel and remembers what it saw, so that an interrupted run goes on."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from data.doctor.contents import Facts, Role, look_into
from data.doctor.tree import Tree
from data.errors import UserError
from data.files import append_jsonl, hash_value, make_dir, read_jsonl

log = logging.getLogger(__name__)
VERSION = 1  # raise it when `look_into` tells other facts
SAVE_SECONDS = 3.0
CHUNK = 8
ENOUGH = 100  # files that are worth the start of processes


@dataclass(slots=True)
class Gathered:
    """Facts of every file that was looked into, by role and path, and how many of them were remembered."""

    facts: dict[tuple[Role, str], Facts]
    remembered: int


def default_cache() -> Path:
    """`eiad/doctor` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eiad" / "doctor"


def gather_facts(tree: Tree, roles: dict[str, Role], *, workers: int, cache: Path, fresh: bool = False) -> Gathered:
    """Looks into files; what was seen in an earlier run and has the same size and time is not read again.

    Args:
        tree: The files.
        roles: What to look for, by path; paths that are not in the tree are left out.
        workers: Processes.
        cache: Folder of the memory: one append-only JSONL file a root.
        fresh: Read everything again.
    """
    memory = cache / f"{hash_value([VERSION, str(tree.root.resolve())])[:16]}.jsonl"
    known = {} if fresh else _remember(memory)
    facts: dict[tuple[Role, str], Facts] = {}
    pending: list[tuple[str, Role]] = []
    for name, role in sorted(roles.items()):
        if name not in tree.files:
            continue
        entry = tree.files[name]
        seen = known.get((role.value, name))
        if seen and seen["size"] == entry.size and seen["changed"] == entry.changed:
            facts[role, name] = seen["facts"]
        else:
            pending.append((name, role))
    remembered = len(facts)
    rows: list[dict] = []
    writer = _Writer(memory)
    try:
        for name, role, seen_now in _look(tree.root, pending, workers):
            facts[role, name] = seen_now
            entry = tree.files[name]
            rows.append(
                {"file": name, "role": role.value, "size": entry.size, "changed": entry.changed, "facts": seen_now}
            )
            rows = writer.save(rows)
    finally:
        writer.save(rows, now=True)
    return Gathered(facts, remembered)


class _Writer:
    """Appends rows every few seconds; without a writable cache it says so once and goes on."""

    def __init__(self, path: Path) -> None:
        self.path, self.last, self.broken = path, time.monotonic(), False

    def save(self, rows: list[dict], *, now: bool = False) -> list[dict]:
        """Writes the rows when it is time; returns those that still wait."""
        if not rows or self.broken or (not now and time.monotonic() - self.last < SAVE_SECONDS):
            return [] if self.broken else rows
        try:
            make_dir(self.path.parent)
            append_jsonl(self.path, rows)
        except (UserError, OSError) as error:
            self.broken = True
            log.warning("Nothing is remembered for the next run: cannot write %s (%s). Set cache=.", self.path, error)
        self.last = time.monotonic()
        return []


def _remember(memory: Path) -> dict[tuple[str, str], dict]:
    try:
        rows = read_jsonl(memory) if memory.is_file() else []
        return {(row["role"], row["file"]): row for row in rows if {"size", "changed", "facts"} <= set(row)}
    except (UserError, OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        log.warning("The memory %s is damaged (%s): starting afresh.", memory, error)
        memory.unlink(missing_ok=True)
        return {}


def _look(root: Path, pending: list[tuple[str, Role]], workers: int) -> Iterator[tuple[str, Role, Facts]]:
    """Looks into files in order; drops the queue when the caller stops or is interrupted."""
    if not pending:
        return
    paths, roles = [root / name for name, _ in pending], [role for _, role in pending]
    bar = tqdm(total=len(pending), desc=f"doctor {root.name}", unit="file", mininterval=0.5)
    pool = None
    if workers > 1 and len(pending) >= ENOUGH:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        seen = pool.map(look_into, paths, roles, chunksize=CHUNK) if pool else map(look_into, paths, roles)
        for (name, role), facts in zip(pending, seen, strict=True):
            bar.update()
            yield name, role, facts
    finally:
        bar.close()
        if pool:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
