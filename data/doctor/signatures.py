"""What each dataset looks like on disk: patterns that say which folder is its root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path

import yaml

from data.faults import collect_faults
from data.readers.listing import is_junk, list_folders
from data.readers.photos import find_products

SIGNATURES = Path(__file__).with_name("signatures.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One dataset as `signatures.yaml` describes it. Patterns are relative to the root; `*` is one name.

    Attributes:
        reader: Name of the reader that knows the dataset's layout.
        title: Name of the dataset.
        layouts: Alternatives; of one of them, every pattern must match.
        lacks: Patterns that must not match.
        names: Names of the official top folders; at least half of those present must be known.
        weak: Describes a layout, not a dataset: only tried where nothing else fits.
        published: Whether the published counts of `reader` are this dataset's.
        masks: Where masks lie; a file there that no sample uses is an orphan.
        blank: Masks of normal images; must be all zero.
        extras: Files that belong to the download but are neither images nor masks for us.
        by_meaning: Recognised by what the folders are called (`data.readers.photos`), not by the patterns; masks are
            optional.
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
    by_meaning: bool = False

    def fit(self, root: Path) -> tuple[str, ...] | None:
        """The patterns of the first layout that a folder has; None when it has none of them."""
        if any(has(root, pattern) for pattern in self.lacks):
            return None
        if self.by_meaning:
            with collect_faults():  # of links and permissions: the tree's, told later
                products = find_products(root)
                alone = products == [root]
                whole = len(products) > 1 and products == list_folders(root)  # not just any folder that holds products
            return tuple(f"{product.name}: sound photos" for product in products) if alone or whole else None
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
            by_meaning=row.get("by_meaning", False),
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


def forget() -> None:
    """Forgets the folders that `find` has looked into; call it before a new examination."""
    _entries.cache_clear()


def _find(root: Path, below: Path, parts: list[str]) -> Iterator[Path]:
    wild = "*" in parts[0]
    for name, lower, is_folder in _entries(root / below):
        if not (fnmatchcase(lower, parts[0]) if wild else lower == parts[0]):
            continue
        if len(parts) == 1:
            yield below / name
        elif is_folder:
            yield from _find(root, below / name, parts[1:])


@lru_cache(maxsize=20_000)
def _entries(folder: Path) -> list[tuple[str, str, bool]]:
    """Visible names in a folder, sorted: as they are, in lower case, and whether it is a folder."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") and not is_junk(entry.name)]
    except OSError:
        return []
    return sorted((entry.name, entry.name.lower(), _is_folder(entry)) for entry in visible)


def _is_folder(entry: os.DirEntry[str]) -> bool:
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
