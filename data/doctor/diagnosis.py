"""What the doctor found out about one dataset, as one value that is printed or saved."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.doctor.counts import Comparison, Row
from data.doctor.problems import Problem, Severity, count_severities
from data.doctor.recognise import Recognition


@dataclass(slots=True)
class Diagnosis:
    """The result of one examination.

    Attributes:
        path: The path that was given.
        found: What lies there.
        rows: Counts by category and split.
        compared: Counts beside the published ones.
        looked_into: Files that were decoded or parsed, by role.
        remembered: How many of them an earlier run had looked into.
        images_compared: Images of `against` that the images were compared with.
        extras: Images that are no samples, by rule of the layout.
        skipped: Samples that the reader leaves out, with its reason.
        problems: All problems, worst first.
    """

    path: Path
    found: Recognition
    rows: list[Row] = field(default_factory=list)
    compared: list[Comparison] = field(default_factory=list)
    looked_into: Counter[str] = field(default_factory=Counter)
    remembered: int = 0
    images_compared: int | None = None
    extras: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there is no error; warnings and notes do not count."""
        return not any(item.severity is Severity.ERROR for item in self.problems)

    def document(self) -> dict[str, Any]:
        """Everything as JSON values; `data` describes the dataset, so that other subjects can stand beside it."""
        return {
            "passed": self.passed,
            "totals": count_severities(self.problems),
            "data": {
                "path": str(self.path),
                "root": str(self.found.root),
                "reader": self.found.reader,
                "title": self.found.title,
                "evidence": list(self.found.evidence),
                "counts": [asdict(row) for row in self.rows],
                "published": [asdict(row) for row in self.compared],
                "looked_into": dict(self.looked_into),
                "remembered": self.remembered,
                "images_compared": self.images_compared,
                "extras": self.extras,
                "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in self.skipped],
            },
            "problems": [{"severity": item.severity.value, **asdict(item)} for item in self.problems],
        }
