"""All files below a root, whatever a reader makes of them, and what is wrong with the tree itself."""

from __future__ import annotations

import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from data.content import State
from data.doctor.problems import Problem, problem
from data.readers.listing import IMAGE_SUFFIXES, is_junk

ANNOTATION_SUFFIXES = {".json", ".csv", ".yaml", ".yml"}
UNLISTED_SUFFIXES = {".webp", ".gif", ".jfif", ".heic", ".jp2", ".ppm", ".pgm", ".avif"}


@dataclass(slots=True)
class Tree:
    """Files by their path below the root, in POSIX form, as they were after `since`; junk is not among them."""

    root: Path
    files: dict[str, State] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    since: float = field(default_factory=time.time)

    def images(self) -> list[str]:
        """Files that have the suffix of an image, sorted."""
        return sorted(name for name in self.files if Path(name).suffix.lower() in IMAGE_SUFFIXES)

    def annotations(self) -> list[str]:
        """Files that have the suffix of an annotation, sorted."""
        return sorted(name for name in self.files if Path(name).suffix.lower() in ANNOTATION_SUFFIXES)


def walk(root: Path) -> Tree:
    """Lists a tree, links followed, loops and unreadable parts reported."""
    tree = Tree(root)
    _enter(tree, "", frozenset({os.path.realpath(root)}))
    return tree


def _enter(tree: Tree, below: str, above: frozenset[str]) -> None:
    """Adds one folder. `above` holds the real paths of the folders on the way, to notice loops."""
    try:
        names = sorted(entry.name for entry in os.scandir(tree.root / below))
    except PermissionError:
        tree.problems.append(problem("permission-denied", below or ".", "The folder cannot be listed."))
        return
    if not names and below:
        tree.problems.append(problem("empty-folder", below, "The folder is empty."))
    tree.problems += _collisions(below, names)
    for name in names:
        relative = f"{below}/{name}" if below else name
        if is_junk(name):
            tree.problems.append(problem("junk-file", relative, "Left behind by a system, a browser or a notebook."))
        else:
            _add(tree, relative, above)


def _add(tree: Tree, relative: str, above: frozenset[str]) -> None:
    path = tree.root / relative
    linked = path.is_symlink()
    try:
        status = path.stat()
    except OSError as error:
        tree.problems.append(_unreachable(relative, path, error))
        return
    if linked and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(tree.root)):
        tree.problems.append(problem("link-outside", relative, f"Points to {os.path.realpath(path)}."))
    if S_ISDIR(status.st_mode):
        real = os.path.realpath(path)
        if real in above:
            tree.problems.append(problem("symlink-loop", relative, f"Points back to {real}, which holds it."))
        else:
            _enter(tree, relative, above | {real})
    elif S_ISREG(status.st_mode):
        tree.files[relative] = State.of(status)
        tree.problems += _check_file(relative, status.st_size)


def _unreachable(relative: str, path: Path, error: OSError) -> Problem:
    if error.errno == errno.ELOOP:
        return problem("symlink-loop", relative, "The link points to itself.")
    if isinstance(error, PermissionError):
        return problem("permission-denied", relative, "The file cannot be looked at.")
    target = f" to {path.readlink()}" if path.is_symlink() else ""
    return problem("broken-link", relative, f"Leads{target}: {error.strerror}.")


def _check_file(relative: str, size: int) -> Iterator[Problem]:
    suffix = Path(relative).suffix.lower()
    if suffix in UNLISTED_SUFFIXES:
        yield problem("unlisted-format", relative, f"No reader lists {suffix} files.")
    if size == 0 and (suffix in IMAGE_SUFFIXES or suffix in ANNOTATION_SUFFIXES):
        yield problem("empty-file", relative, "The file has zero bytes.")


def _collisions(below: str, names: list[str]) -> Iterator[Problem]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[name.lower()].append(name)
    for group in alike.values():
        if len(group) > 1:
            place = f"{below}/{group[1]}" if below else group[1]
            yield problem("case-collision", place, f"Differs from {group[0]} in case only.")
