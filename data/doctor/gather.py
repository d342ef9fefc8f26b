"""Looks into many files in parallel and remembers what it saw, so that an interrupted run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.content import SAVE_SECONDS, Memory
from data.doctor.contents import Facts, Role, look_into
from data.doctor.tree import Tree
from data.parallel import worker_pool

VERSION = 2  # raise it when `look_into` tells other facts
CHUNK = 8
ENOUGH = 100  # files that are worth the start of processes


@dataclass(slots=True)
class Gathered:
    """Facts of every file that was looked into, by role and path, and how many of them were remembered."""

    facts: dict[tuple[Role, str], Facts]
    remembered: int


def gather_facts(tree: Tree, roles: dict[str, Role], *, workers: int, memory: Memory, fresh: bool = False) -> Gathered:
    """Looks into files; what was seen in an earlier run and is unchanged is not read again.

    Args:
        tree: The files.
        roles: What to look for, by path; paths that are not in the tree are left out.
        workers: Processes.
        memory: Remembers the facts.
        fresh: Read everything again.
    """
    wanted = [(name, role) for name, role in sorted(roles.items()) if name in tree.files]
    facts = {} if fresh else _recall(tree, wanted, memory)
    remembered = len(facts)
    pending = [(name, role) for name, role in wanted if (role, name) not in facts]
    unsaved: list[tuple[str, Role, Facts]] = []
    saved = time.monotonic()
    try:
        for name, role, seen in _look(tree.root, pending, workers):
            facts[role, name] = seen
            unsaved.append((name, role, seen))
            if time.monotonic() - saved > SAVE_SECONDS:
                _remember(tree, unsaved, memory)
                unsaved, saved = [], time.monotonic()
    finally:
        _remember(tree, unsaved, memory)
    return Gathered(facts, remembered)


def _recall(tree: Tree, wanted: list[tuple[str, Role]], memory: Memory) -> dict[tuple[Role, str], Facts]:
    facts = {}
    for role in Role:
        names = {tree.root / name: name for name, wished in wanted if wished is role}
        found = memory.recall(_kind(role), {path: tree.files[name] for path, name in names.items()})
        facts.update({(role, names[path]): json.loads(text) for path, text in found.items()})
    return facts


def _remember(tree: Tree, seen: list[tuple[str, Role, Facts]], memory: Memory) -> None:
    for role in Role:
        rows = [(tree.root / name, tree.files[name], json.dumps(facts)) for name, at, facts in seen if at is role]
        memory.remember(_kind(role), rows, since=tree.since)


def _kind(role: Role) -> str:
    return f"doctor {VERSION} {role.value}"


def _look(root: Path, pending: list[tuple[str, Role]], workers: int) -> Iterator[tuple[str, Role, Facts]]:
    """Looks into files in order; drops the queue when the caller stops or is interrupted."""
    if not pending:
        return
    paths, roles = [root / name for name, _ in pending], [role for _, role in pending]
    bar = tqdm(total=len(pending), desc=f"doctor {root.name}", unit="file", mininterval=0.5)
    several = workers > 1 and len(pending) >= ENOUGH
    with closing(bar), worker_pool(workers, "spawn") if several else nullcontext() as pool:
        seen = pool.map(look_into, paths, roles, chunksize=CHUNK) if pool else map(look_into, paths, roles)
        for (name, role), facts in zip(pending, seen, strict=True):
            bar.update()
            yield name, role, facts
