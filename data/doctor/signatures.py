"""What each dataset looks like on disk: patterns that say which folder is its root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import yaml

SIGNATURES = Path(__file__).with_name("signatures.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One dataset as `signatures.yaml` describes it. Patterns are relative to the root; `*` is one name.

    Attributes:
        reader: Key of `data.readers.READERS`.
        title: Name of the dataset.
        layouts: Alternatives; of one of them, every pattern must match.
        lacks: Patterns that must not match.
        names: Names of the official top folders; at least half of those present must be known.
        weak: Describes a layout, not a dataset: only tried where nothing else fits.
        published: Whether the published counts of `reader` are this dataset's.
        masks: Where masks lie; a file there that no sample uses is an orphan.
        blank: Masks of normal images; must be all zero.
        extras: Files that belong to the download but are neither images nor masks for us.
        variants: Top folders of which a reader uses one, such as resolutions; the files of the others are extras.
    """

    reader: str
    title: str
    layouts: tuple[tuple[str, ...], ...]
    lacks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    weak: bool = False
    published: bool = True
    masks: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()

    def fit(self, root: Path) -> tuple[str, ...] | None:
        """The patterns of the first layout that a folder has; None when it has none of them."""
        if any(has(root, pattern) for pattern in self.lacks):
            return None
        return next((layout for layout in self.layouts if self._has_layout(root, layout)), None)

    def _has_layout(self, root: Path, layout: tuple[str, ...]) -> bool:
        if not all(has(root, pattern) for pattern in layout):
            return False
        present = {path.parts[0].lower() for path in find(root, layout[0])}
        known = present & {name.lower() for name in self.names}
        return not self.names or 2 * len(known) >= len(present)


@cache
def signatures() -> tuple[Signature, ...]:
    """All signatures, the most particular first."""
    rows = yaml.safe_load(SIGNATURES.read_text(encoding="utf-8"))
    lists = ("lacks", "names", "masks", "blank", "extras", "variants")
    return tuple(
        Signature(
            reader=row["reader"],
            title=row["title"],
            weak=row.get("weak", False),
            published=row.get("published", True),
            layouts=tuple(tuple(layout) for layout in row["layouts"]),
            **{key: tuple(row.get(key, ())) for key in lists},
        )
        for row in rows
    )


def has(root: Path, pattern: str) -> bool:
    """Whether anything below a folder matches, in any case of letters."""
    return next(find(root, pattern), None) is not None


def find(root: Path, pattern: str) -> Iterator[Path]:
    """Paths below a folder, relative to it, that match a pattern in any case; unreadable folders are empty."""
    yield from _find(root, Path(), pattern.lower().split("/"))


def _find(root: Path, below: Path, parts: list[str]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not fnmatchcase(entry.name.lower(), parts[0]):
            continue
        if len(parts) == 1:
            yield below / entry.name
        elif _is_dir(entry):
            yield from _find(root, below / entry.name, parts[1:])


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a relative path matches one of some patterns, part by part, in any case; a last `**` is any rest."""
    parts = path.lower().split("/")
    return any(_match(parts, pattern.lower().split("/")) for pattern in patterns)


def _match(parts: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        if len(parts) <= len(pattern):
            return False
        parts = parts[: len(pattern)]
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))
