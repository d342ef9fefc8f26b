"""Which dataset lies at a path, even where the path is a level off or names are in the wrong case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data.doctor.problems import Problem, problem
from data.doctor.signatures import Signature, find, forget, signatures
from data.readers.downloads import how_to_get
from data.readers.photos import LAYOUT

LEVELS = 2  # how far above and below the given path a root is looked for
BREADTH = 200  # folders a level that are looked into


@dataclass(slots=True)
class Recognition:
    """What lies at a path.

    Attributes:
        root: The dataset's root; the given path where nothing was recognised.
        reader: Key of the reader; None where nothing was recognised.
        signature: What the dataset looks like; None where nothing was recognised.
        evidence: The patterns that matched.
        problems: What is wrong with the path or its names.
    """

    root: Path
    reader: str | None = None
    signature: Signature | None = None
    evidence: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Name of the dataset, for people."""
        return self.signature.title if self.signature else "unknown"


def recognise(path: Path, reader: str | None = None) -> Recognition:
    """Recognises the dataset at a path; looks at names only.

    A dataset at the path itself wins over one below it, that over one above it; a mere layout (`weak`) comes last.

    Args:
        path: Folder that the user names.
        reader: Key of the reader the user names; None recognises freely.
    """
    if not path.is_dir():
        what = "This is a file." if path.exists() else "There is nothing."
        fix = f"{how_to_get(reader, path)}." if reader else None
        return Recognition(path, reader, problems=[problem("missing-folder", path, what, fix)])
    path = path.resolve() if ".." in path.parts else path.absolute()
    forget()
    wanted = [item for item in signatures() if reader in (None, item.reader)]
    if not wanted:  # a reader without a signature is taken at its word
        return Recognition(path, reader)
    found = _search(path, wanted)
    if len(found) > 1:
        return Recognition(path, reader, problems=[_several(path, found)])
    if not found:
        return _unrecognised(path, reader)
    root, signature, evidence = found[0]
    problems = list(_case_mistakes(root, signature))
    if root != path:
        problems.append(_wrong_level(path, root, signature))
    return Recognition(root, signature.reader, signature, evidence, problems)


Match = tuple[Path, Signature, tuple[str, ...]]  # a root, what it is, and the patterns that say so


def _search(path: Path, wanted: list[Signature]) -> list[Match]:
    """The nearest root: one, several side by side, or none."""
    for weak in (False, True):
        group = [item for item in wanted if item.weak is weak]
        for folders in _places(path):
            if found := [match for folder in folders if (match := _match(folder, group))]:
                return found
    return []


def _places(path: Path) -> Iterator[list[Path]]:
    """Where a root may be, nearest first; folders side by side come together."""
    yield [path]
    level = [path]
    for _ in range(LEVELS):
        level = [child for folder in level for child in _children(folder)][:BREADTH]
        yield level
    yield from ([parent] for parent in list(path.parents)[:LEVELS])


def _children(folder: Path) -> list[Path]:
    return [path for name in find(folder, "*") if (path := folder / name).is_dir()]


def _match(folder: Path, group: list[Signature]) -> Match | None:
    """The first signature that fits a folder."""
    return next(((folder, item, layout) for item in group if (layout := item.fit(folder))), None)


def _unrecognised(path: Path, reader: str | None) -> Recognition:
    if reader is None:
        known = ", ".join(sorted({item.reader for item in signatures()}))
        message = f"Has the layout of none of: {known}. For photos of your own, make {LAYOUT}."
        return Recognition(path, problems=[problem("unknown-dataset", path, message)])
    own = next(item for item in signatures() if item.reader == reader)
    layout = " or ".join(", ".join(patterns) for patterns in own.layouts)
    others = _search(path, [item for item in signatures() if not item.weak])
    seems = f" It looks like {others[0][1].title} (reader={others[0][1].reader})." if len(others) == 1 else ""
    message = f"Lacks what {own.title} has: {layout}.{seems}"
    return Recognition(path, reader, own, problems=[problem("other-dataset", path, message)])


def _several(path: Path, found: list[Match]) -> Problem:
    listed = "; ".join(f"data={root} ({signature.title})" for root, signature, _ in found[:20])
    return problem("several-datasets", path, f"Holds {len(found)} datasets.", f"Pass one of them: {listed}.")


def _wrong_level(path: Path, root: Path, signature: Signature) -> Problem:
    if root in path.parents:
        message = f"This is a part of {signature.title}; its root lies above."
    else:
        message = f"{signature.title} lies deeper."
    return problem("wrong-level", path, message, f"Pass data={root} instead.")


def _case_mistakes(root: Path, signature: Signature) -> Iterator[Problem]:
    """Names that match a signature only when upper and lower case are taken for the same."""
    official = {name.lower(): name for name in signature.names}
    renamed: dict[Path, str] = {}
    patterns = () if signature.by_meaning else signature.layouts
    for pattern in sorted({pattern for layout in patterns for pattern in layout}):
        for found in find(root, pattern):
            for depth, (have, want) in enumerate(zip(found.parts, pattern.split("/"), strict=True)):
                right = official.get(have.lower(), have) if want == "*" and depth == 0 else _spell(have, want)
                if have != right:
                    renamed[Path(*found.parts[: depth + 1])] = right
    for wrong, right in sorted(renamed.items()):
        yield problem("wrong-case", wrong, f"{wrong} should be spelt {right}.", f"Rename it to {right}.")


def _spell(have: str, want: str) -> str:
    """The official spelling of a name that matches a part of a pattern; suffixes may be in any case."""
    if want.startswith("*.") or want == "*":
        return have
    stem = want.rstrip("*")
    return stem + have[len(stem) :] if "*" not in stem else have
