"""Paired bootstrap of the difference between two evaluations of the same images.

The figures are means over categories of figures within one, so images are drawn with replacement within each category,
sound and defective ones apart: how many there are of each is the dataset's choice, not chance. Both sides get the same
draws, so that what makes an image hard for both cancels. The interval is of percentiles; it says how far the difference
hangs on which images were taken, not what another training or other products would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from eval.gains.gain import Gain
from eval.gains.tally import Tally, Weights, tally_figures

Figures = Mapping[str, float | None]  # metric → percent


@dataclass(kw_only=True, slots=True)
class BootstrapConfig:
    """How intervals of a difference are made.

    Attributes:
        resamples: Number of resamples; 0 leaves the intervals out.
        level: Coverage, in (0, 1).
        seed: Of the draws.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def check(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range.
        """
        if self.resamples < 0 or not 0 < self.level < 1:
            raise UserError(
                f"resamples={self.resamples} and level={self.level}: choose at least 0, and a share between 0 and 1."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two evaluations.

    Attributes:
        mean: Metric → mean over the categories, percent.
        categories: Category → metric → percent.
        tallies: Category → what each image adds.
        limit: Upper limit of the false-positive rate in AUPRO.
    """

    mean: Figures
    categories: Mapping[str, Figures]
    tallies: Mapping[str, Tally]
    limit: float


@dataclass(frozen=True, slots=True)
class Gains:
    """The differences between two evaluations, in points.

    Attributes:
        mean: Metric → difference of the means.
        categories: Category → metric → difference.
        missing: Why there are no intervals; empty where there are.
    """

    mean: dict[str, Gain]
    categories: dict[str, dict[str, Gain]]
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "mean": {name: gain.as_json() for name, gain in self.mean.items()},
            "categories": {
                category: {name: gain.as_json() for name, gain in gains.items()}
                for category, gains in self.categories.items()
            },
            "missing": self.missing,
        }


def compare_sides(left: Side, right: Side, metrics: tuple[str, ...], config: BootstrapConfig) -> Gains:
    """Left minus right, with intervals where both keep counts of the same images.

    A resample is moved by what the bins of its tally are off the exact figure, so that it stands around the difference
    that is printed. A category without a value in a resample is left out of that resample's mean.

    Args:
        left: The side that is hoped to be better.
        right: The other one.
        metrics: What is compared.
        config: How many resamples.
    """
    missing = _find_missing(left, right, config)
    names = sorted(set(left.categories) & set(right.categories))
    drawn: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    random = np.random.default_rng(config.seed)
    for name in [] if missing else names:
        sides = [side.tallies[name].sorted() for side in (left, right)]
        weights = draw_weights(sides[0].defective, config.resamples, random)
        drawn[name] = [
            tally_figures(tally, weights, side.limit) for tally, side in zip(sides, (left, right), strict=True)
        ]

    def gain(metric: str, ends: tuple[Figures, Figures], chosen: list[str]) -> Gain:
        a, b = (figures.get(metric) for figures in ends)
        if a is None or b is None:
            return Gain()
        if not drawn:
            return Gain(a - b)
        means = [_nan_mean(np.stack([drawn[name][side][metric] for name in chosen])) for side in (0, 1)]
        moved = means[0] - means[1]
        return _interval(a - b, moved[1:] + (a - b - moved[0]), config.level)

    return Gains(
        {metric: gain(metric, (left.mean, right.mean), names) for metric in metrics},
        {
            name: {metric: gain(metric, (left.categories[name], right.categories[name]), [name]) for metric in metrics}
            for name in names
        },
        missing,
    )


def draw_weights(defective: NDArray[np.bool_], resamples: int, random: np.random.Generator) -> Weights:
    """How often each image of a category is drawn, (1 + resamples, n): first each once, then the draws."""
    weights = np.ones((1 + resamples, len(defective)))
    for kind in (defective, ~defective):
        if count := int(kind.sum()):
            weights[1:, kind] = random.multinomial(count, np.full(count, 1 / count), size=resamples)
    return weights


def _find_missing(left: Side, right: Side, config: BootstrapConfig) -> str:
    if not config.resamples:
        return "resamples=0"
    for name in sorted(set(left.categories) | set(right.categories)):
        tallies = [side.tallies.get(name) for side in (left, right)]
        if not (name in left.categories and name in right.categories):
            return f"only one side has evaluated {name}"
        if tallies[0] is None or tallies[1] is None:
            return f"no counts per image of {name}: evaluate again"
        if sorted(tallies[0].ids) != sorted(tallies[1].ids):
            return f"the two sides have evaluated other images of {name}"
    return ""


def _nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis, NaNs left out; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def _interval(value: float, drawn: NDArray[np.float64], level: float) -> Gain:
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return Gain(value)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Gain(value, round(float(low), 9), round(float(high), 9))  # what is equal on both sides is 0, not 1e-14
