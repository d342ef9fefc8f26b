"""A problem that the doctor found: its code, how bad it is, the file and the fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

import yaml

KINDS = Path(__file__).with_name("problems.yaml")


class Severity(Enum):
    """How bad a problem is: an error breaks a later command or falsifies its result."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem, as `problems.yaml` lists it.

    Attributes:
        severity: How bad it is.
        title: What is wrong, for any number of files.
        fix: What to do about it.
    """

    severity: Severity
    title: str
    fix: str


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem.

    Attributes:
        code: Stable name of its kind, e.g. `corrupt-image`.
        file: Path below the dataset's root, or a whole path where that makes no sense.
        message: What is wrong with this file.
        fix: What to do about it.
    """

    code: str
    file: str
    message: str
    fix: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return kinds()[self.code].severity


@cache
def kinds() -> dict[str, Kind]:
    """All kinds of problems by code, worst first."""
    table = yaml.safe_load(KINDS.read_text(encoding="utf-8"))
    return {
        code: Kind(severity, entry["title"], entry["fix"])
        for severity in Severity
        for code, entry in table[severity.value].items()
    }


def problem(code: str, file: str | Path, message: str, fix: str | None = None) -> Problem:
    """Makes a problem; without a fix of its own it gets its kind's."""
    return Problem(code, str(file), message, fix or kinds()[code].fix)


def settle(found: Iterable[Problem], reported: Iterable[Problem] = ()) -> list[Problem]:
    """Sorts problems, worst first, each once.

    Args:
        found: What the doctor found itself.
        reported: What the reader says; left out where the doctor found a problem of that code in that file.
    """
    own = set(found)
    known = {(item.code, item.file) for item in own}
    order = {code: index for index, code in enumerate(kinds())}
    kept = own | {item for item in reported if (item.code, item.file) not in known}
    return sorted(kept, key=lambda item: (order[item.code], item.file, item.message))


def count_severities(problems: Iterable[Problem]) -> dict[str, int]:
    """Number of errors, warnings and notes."""
    counts = Counter(item.severity for item in problems)
    return {severity.value: counts[severity] for severity in Severity}
