"""How many images of which kind there are, beside what was published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.doctor.problems import Problem, problem
from data.sample import Sample

PUBLISHED = Path(__file__).with_name("published.yaml")
CONFIDENCE = {"C": "", "L": " (common knowledge, not verified)", "G": " (a guess)"}  # C: seen in the files or the paper


@dataclass(slots=True)
class Row:
    """One category in one split: images by kind, and anomalous ones by defect."""

    category: str
    split: str
    normal: int = 0
    anomalous: int = 0
    defects: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One published count.

    Attributes:
        what: What is counted, e.g. `test anomalous` or `bottle: contamination`.
        published: The published count.
        found: The count here.
        confidence: Key of `CONFIDENCE`.
    """

    what: str
    published: int
    found: int
    confidence: str


def count_samples(samples: list[Sample]) -> list[Row]:
    """Counts samples by category and split, in that order."""
    rows: dict[tuple[str, str], Row] = {}
    for sample in samples:
        row = rows.setdefault((sample.category, sample.split), Row(sample.category, sample.split))
        if sample.defect is None:
            row.normal += 1
        else:
            row.anomalous += 1
            row.defects[sample.defect] = row.defects.get(sample.defect, 0) + 1
    return [rows[key] for key in sorted(rows)]


@cache
def _published() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def compare(dataset: str, rows: list[Row]) -> list[Comparison]:
    """Puts counts beside the published ones; of a set with missing categories only what is there is compared.

    Args:
        dataset: Key in `published.yaml`; one that is not there has no published counts.
        rows: The counts, as `count_samples` gives them.
    """
    entry = _published().get(dataset, {})
    present = {row.category for row in rows}
    compared = []
    whole = True
    if "categories" in entry:
        number, confidence = entry["categories"]
        compared.append(Comparison("categories", number, len(present), confidence))
        whole = len(present) >= number
    if whole:
        for what, (number, confidence) in entry.get("counts", {}).items():
            compared.append(Comparison(what, number, _count(rows, what), confidence))
    for category, (defects, confidence) in entry.get("defects", {}).items():
        if category in present:
            plain: Counter[str] = Counter()
            for row in rows:
                if row.category == category:
                    plain.update({_plain(name): count for name, count in row.defects.items()})
            for defect, number in defects.items():
                compared.append(Comparison(f"{category}: {defect}", number, plain[_plain(defect)], confidence))
    return compared


def check_counts(compared: list[Comparison]) -> Iterator[Problem]:
    """A warning for each count that differs."""
    for row in compared:
        if row.found != row.published:
            text = f"{row.found} here, {row.published} published{CONFIDENCE[row.confidence]}."
            yield problem("count-differs", row.what, text)


def _count(rows: list[Row], what: str) -> int:
    """Counts `[<split> ]<images|normal|anomalous>`."""
    split, _, kind = what.rpartition(" ")
    chosen = [row for row in rows if split in ("", row.split)]
    normal, anomalous = sum(row.normal for row in chosen), sum(row.anomalous for row in chosen)
    return {"normal": normal, "anomalous": anomalous, "images": normal + anomalous}[kind]


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ")
