"""Class metrics of one category from its confusion matrix: accuracy, macro-F1, Cohen's kappa, VELM's Eq. 1 and Eq. 2.

The published VELM figures are plain accuracy with the normal images in, macro-F1 over the union of true and predicted
classes with `good` in, and kappa; each is then averaged over the categories. The paper prints other formulas: Eq. 1 is
a mean of TP / (TP + FP + FN) and Eq. 2 a mean of F1, both over the anomaly classes alone. They go by their own names.

Shapes: `counts` is (…, K, K), rows true, columns predicted; everything works on any number of leading dimensions, so
a bootstrap is one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.classes.texts import GOOD

METRICS = ("accuracy", "macro_f1", "kappa", "eq1", "eq2")
UNKNOWN = "unknown"  # a reply that names no class: always wrong, one more predicted class


@dataclass(frozen=True, slots=True)
class Confusion:
    """Confusion matrix of one category.

    Attributes:
        classes: Names of rows and columns: `good`, the others by name, `unknown` last; each occurs at least once.
        counts: (K, K), rows true, columns predicted.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def from_lists(cls, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Confusion:
        """From what JSON holds."""
        return cls(tuple(classes), np.asarray(counts, np.int64))

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.counts.sum())


def count_confusion(truth: Sequence[str], predicted: Sequence[str]) -> Confusion:
    """Counts true against predicted classes.

    Raises:
        ValueError: If the lengths differ or there is nothing to count.
    """
    if len(truth) != len(predicted) or not truth:
        raise ValueError(f"{len(truth)} true and {len(predicted)} predicted classes: need as many, and at least one.")
    classes = sorted({*truth, *predicted}, key=lambda name: (name != GOOD, name == UNKNOWN, name))
    index = {name: position for position, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, ([index[name] for name in truth], [index[name] for name in predicted]), 1)
    return Confusion(tuple(classes), counts)


def class_metrics(confusion: Confusion) -> dict[str, float | None]:
    """The metrics of one category, as fractions; see `METRICS` for the keys.

    None where a metric is undefined: Eq. 1 and Eq. 2 without an anomalous image, kappa when only one class occurs.
    """
    values = _metrics(confusion.counts, _is_anomaly(confusion))
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def mean_metrics(categories: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """Mean of each metric over the categories in which it is defined; None where there is none."""
    mean = {}
    for name in METRICS:
        known = [value for scores in categories.values() if (value := scores[name]) is not None]
        mean[name] = sum(known) / len(known) if known else None
    return mean


def bootstrap_intervals(
    confusions: Mapping[str, Confusion], *, resamples: int, seed: int, level: float = 0.95
) -> tuple[dict[str, list[float] | None], dict[str, dict[str, list[float] | None]]]:
    """Percentile intervals from resampling the images of every category with replacement.

    Drawing images is drawing cells of the confusion matrix, so each category is one multinomial draw; categories are
    resampled separately, as their number of images is given, not random.

    Args:
        confusions: One matrix a category.
        resamples: Number of resamples.
        seed: Of the draws.
        level: Coverage, in (0, 1).

    Returns:
        [low, high] of the mean over categories, and of each category, by metric, as fractions; None where no resample
        defines the metric.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {}
    for category, confusion in confusions.items():
        size = len(confusion.classes)
        shares = confusion.counts.ravel() / confusion.images
        counts = rng.multinomial(confusion.images, shares, size=resamples).reshape(resamples, size, size)
        drawn[category] = _metrics(counts, _is_anomaly(confusion))
    means = {name: _nan_mean(np.stack([values[name] for values in drawn.values()])) for name in METRICS}
    return (
        {name: _interval(means[name], level) for name in METRICS},
        {category: {name: _interval(values[name], level) for name in METRICS} for category, values in drawn.items()},
    )


def _is_anomaly(confusion: Confusion) -> NDArray[np.bool_]:
    """Which classes Eq. 1 and Eq. 2 run over: those that a true image shows, `good` left out; (K,)."""
    return np.array([name != GOOD for name in confusion.classes]) & (confusion.counts.sum(1) > 0)


def _metrics(counts: NDArray[np.integer], is_anomaly: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """(…, K, K) → five arrays (…), NaN where undefined."""
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)  # (…, K), true positives
    true, predicted = counts.sum(-1), counts.sum(-2)
    total = true.sum(-1)
    union = true + predicted - right  # TP + FP + FN; 0 for a class that does not occur
    observed = right.sum(-1) / total
    expected = (true * predicted).sum(-1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        jaccard = right / union
        f1 = 2 * right / (union + right)
        kappa = np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
    return {
        "accuracy": observed,
        "macro_f1": _nan_mean(np.moveaxis(f1, -1, 0)),
        "kappa": kappa,
        "eq1": _nan_mean(np.moveaxis(jaccard[..., is_anomaly], -1, 0)),
        "eq2": _nan_mean(np.moveaxis(f1[..., is_anomaly], -1, 0)),
    }


def _nan_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis, NaNs left out; NaN where all are."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def _interval(values: NDArray[np.float64], level: float) -> list[float] | None:
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]
