"""What a line would see at thresholds that stand for a rate of false alarms, from the scores of an evaluation.

Two thresholds beside each other: that of the run's calibration (`RUN/calibration.json`; in the demo from sound images
of products that it was trained on), and one for each product, taken from half of its own sound images and judged on the
other half, both ways round, so that every image is judged once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from data.run import Run
from data.training.descriptions import DescribeMode
from data.training.grounding import DescriptionMode
from eval.calibration.conformal import rate_supported, split_folds, threshold_at
from eval.calibration.file import Calibration, calibration_path, read_calibration
from eval.report.cases import Case
from models.device import NAMES

RATE = 0.05  # asked of a product's own images; fewer than 19 can only promise more


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a threshold lets through.

    Attributes:
        source: What it was taken from.
        rate: Rate of false alarms that it stands for, in percent.
        normals: Sound images that it was taken from; of single products, the fewest.
        alarms: Sound images that reach it, in percent; None without any.
        normal: How many sound images were judged.
        found: Defective images that reach it, in percent; None without any.
        defective: How many defective images were judged.
    """

    source: str
    rate: float
    normals: int
    alarms: float | None
    normal: int
    found: float | None
    defective: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The image score of a case, and whether it is sound."""

    category: str
    score: float
    is_normal: bool


def read_own_calibration(run: Run, told: Mapping[str, Any]) -> tuple[Calibration | None, str]:
    """The calibration of a run, if it is of the model whose scores are shown; else None, and what is wrong with it.

    Args:
        run: The run.
        told: Summary of the evaluation that is shown.
    """
    if not calibration_path(run.path).is_file():
        return None, ""
    from eval.inspection.sources import identify_eiad  # slow to import
    from models.eiad import EIADConfig

    config = told["config"]
    model = EIADConfig(
        run=str(run.path),
        description=DescriptionMode(told["model"]),
        mode=DescribeMode(config["mode"]) if config.get("mode") else None,
        length=config.get("length"),
        device="cpu",
        precision=next(one for one, name in NAMES.items() if name == told.get("number_format", "float32")),
    )
    try:
        return read_calibration(run.path, identify_eiad(model)), ""
    except UserError as error:
        return None, str(error)


def calibrated_points(cases: Sequence[Case], calibration: Calibration | None, seed: int = 0) -> list[Point]:
    """The run's calibration and the products' own, as far as there are scores and images for them."""
    judged = [
        Judged(case.sample.category, case.row.score, case.sample.is_normal)
        for case in cases
        if case.row.score is not None
    ]
    points = []
    if calibration is not None and judged:
        flagged = [one.score >= calibration.threshold for one in judged]
        rate = 100 * calibration.false_alarms
        points.append(_point(judged, flagged, "the run's calibration", rate, calibration.normals))
    return [*points, *own_point(judged, seed)]


def own_point(judged: Sequence[Judged], seed: int) -> list[Point]:
    """A threshold for each product from half of its sound images; none where a product has fewer than two.

    A defective image is found where the stricter of its product's two thresholds finds it.
    """
    products: dict[str, list[int]] = {}
    for index, one in enumerate(judged):
        products.setdefault(one.category, []).append(index)
    sound = {name: [index for index in own if judged[index].is_normal] for name, own in products.items()}
    fewest = min((len(own) // 2 for own in sound.values()), default=0)
    if not fewest:
        return []
    rate = max(RATE, rate_supported(fewest))
    flagged = [False] * len(judged)
    for name, own in products.items():
        halves = [[sound[name][index] for index in half] for half in split_folds(len(sound[name]), 2, seed)]
        cuts = [threshold_at([judged[index].score for index in half], rate) for half in halves]
        for index in own:
            cut = cuts[0] if index in halves[1] else cuts[1] if index in halves[0] else max(cuts)
            flagged[index] = judged[index].score >= cut
    return [_point(judged, flagged, "each product's own sound images", math.ceil(1000 * rate) / 10, fewest)]


def _point(judged: Sequence[Judged], flagged: Sequence[bool], source: str, rate: float, normals: int) -> Point:
    alarms = [flag for one, flag in zip(judged, flagged, strict=True) if one.is_normal]
    found = [flag for one, flag in zip(judged, flagged, strict=True) if not one.is_normal]
    return Point(
        source=source,
        rate=rate,
        normals=normals,
        alarms=_percent(alarms),
        normal=len(alarms),
        found=_percent(found),
        defective=len(found),
    )


def _percent(values: Sequence[bool]) -> float | None:
    return 100 * sum(values) / len(values) if values else None
