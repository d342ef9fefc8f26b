"""What a built DDQA folder holds: images, classes, regions and defect sizes of each source."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


@dataclass(slots=True)
class SourceSummary:
    """The images of one source.

    Attributes:
        images: All images that were asked about.
        normal: Those without a defect.
        held_out: Those in the held-out split.
        classes: Anomalous images by defect name.
        categories: Images by category.
        regions: Anomalous images by number of defect regions.
        shares: Of each anomalous image, the share of its pixels that is defect, in 0..1.
        objects: Physical objects; an image without a group is one.
    """

    images: int = 0
    normal: int = 0
    held_out: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    regions: Counter[int] = field(default_factory=Counter)
    shares: array[float] = field(default_factory=lambda: array("d"))
    objects: int = 0

    def add(self, fact: dict[str, Any]) -> None:
        """Counts one row of `samples.jsonl`, but not its object."""
        self.images += 1
        self.held_out += fact["held_out"]
        self.categories[fact["category"]] += 1
        if fact["defect"] is None:
            self.normal += 1
            return
        self.classes[fact["defect"]] += 1
        self.regions[len(fact["boxes"])] += 1
        width, height = fact["size"]
        # polygons that overlap could add up to more than the image
        self.shares.append(min(1.0, sum(fact["areas"]) / (width * height)))

    def as_json(self) -> dict[str, Any]:
        """Plain values, with quantiles instead of the single sizes."""
        sizes = {name: float(np.quantile(self.shares, q)) for name, q in QUANTILES.items()} if self.shares else None
        return {
            "images": self.images,
            "normal": self.normal,
            "anomalous": self.images - self.normal,
            "held_out": self.held_out,
            "objects": self.objects,
            "categories": dict(sorted(self.categories.items())),
            "classes": dict(self.classes.most_common()),
            "regions": {str(count): images for count, images in sorted(self.regions.items())},
            "defect_share": sizes,
        }


def summarise(path: Path) -> dict[str, SourceSummary]:
    """Reads `samples.jsonl` once, row by row; source → summary, sorted by name.

    Raises:
        UserError: If the file is missing or damaged.
    """
    found: dict[str, SourceSummary] = {}
    objects: dict[str, set[str]] = {}
    for fact in stream_jsonl(path):
        name = fact["dataset"]
        found.setdefault(name, SourceSummary()).add(fact)
        objects.setdefault(name, set()).add(fact["id"] if fact["group"] is None else fact["group"])
    for name, summary in found.items():
        summary.objects = len(objects[name])
    return dict(sorted(found.items()))


def stream_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a JSON-lines file without holding them all.

    Raises:
        UserError: If the file is missing, or a line is not a JSON object.
    """
    if not path.is_file():
        raise UserError(f"Missing file: {path}. Build DDQA there first: python -m scripts.build_ddqa sources=[…] out=…")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"Not valid JSON: {path}, line {number}: {error.msg}. Build DDQA again.") from error
