"""From a score to the probability of a defect, where defective images are there to learn it from.

Platt scaling (a logistic curve, two numbers) for few images, isotonic regression (any rising curve) from
`ISOTONIC_FROM` of each kind on. The probability holds where defects are as frequent as among the images that it was
learnt from. Its expected calibration error is measured on images that the curve was not fitted on (cross-validation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.calibration.conformal import split_folds

Scores = NDArray[np.float64]
ISOTONIC_FROM = 100  # images of each kind; with fewer, a free curve follows single images
BINS = 10  # of the expected calibration error, equally wide
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Scaling:
    """A rising curve from score to probability.

    Attributes:
        method: `platt` or `isotonic`.
        error: Expected calibration error, 0..1, cross-validated.
        normals: Sound images that it was learnt from.
        defects: Defective ones.
        curve: Slope (≥ 0) and offset of `platt`; empty for `isotonic`.
        scores: Points of the curve of `isotonic`, rising; below the first and above the last it is level.
        probabilities: Probability of a defect at each point, 0..1.
    """

    method: str
    error: float
    normals: int
    defects: int
    curve: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    def probability(self, score: float) -> float:
        """Probability of a defect, 0..1."""
        if self.method == "platt":
            return float(_logistic(self.curve[0] * score + self.curve[1]))
        return float(np.interp(score, self.scores, self.probabilities))


def fit_scaling(sound: ArrayLike, defective: ArrayLike, seed: int = 0) -> Scaling | None:
    """Learns the curve.

    Args:
        sound: Scores of sound images that the model was not fitted on, (N,).
        defective: Scores of defective images, (M,).
        seed: Of the folds of the calibration error.

    Returns:
        The curve; None with fewer than `FOLDS` images of either kind.
    """
    low, high = np.asarray(sound, np.float64).ravel(), np.asarray(defective, np.float64).ravel()
    if min(len(low), len(high)) < FOLDS:
        return None
    isotonic = min(len(low), len(high)) >= ISOTONIC_FROM
    fit = _fit_isotonic if isotonic else _fit_platt
    scores, truth = np.concatenate([low, high]), np.r_[np.zeros(len(low)), np.ones(len(high))]
    predicted = np.empty(len(scores))
    pairs = zip(split_folds(len(low), FOLDS, seed), split_folds(len(high), FOLDS, seed), strict=True)
    for left_low, left_high in pairs:
        held = np.zeros(len(scores), bool)
        held[[*left_low, *(len(low) + index for index in left_high)]] = True
        predicted[held] = _curve(fit(scores[~held], truth[~held]))(scores[held])
    return Scaling(error=calibration_error(predicted, truth), normals=len(low), defects=len(high), **fit(scores, truth))


def calibration_error(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Expected calibration error: how far stated probability and share of defects are apart, over ten bins.

    Args:
        probabilities: Stated ones, (N,), 0..1.
        truth: 1 where there is a defect, else 0, (N,).

    Returns:
        Mean over the images of their bin's |mean probability − share of defects|, 0..1.
    """
    stated, happened = np.asarray(probabilities, np.float64), np.asarray(truth, np.float64)
    bins = np.minimum((stated * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, stated - happened, BINS)  # number of images in a bin × its gap
    return float(np.abs(gaps).sum() / len(stated))


def _curve(parts: dict[str, Any]) -> Callable[[Scores], Scores]:
    if parts["method"] == "platt":
        slope, offset = parts["curve"]
        return lambda scores: _logistic(slope * scores + offset)
    return lambda scores: np.interp(scores, parts["scores"], parts["probabilities"])


def _fit_platt(scores: Scores, truth: Scores) -> dict[str, Any]:
    """Platt's fit (1999): his targets keep the curve finite where sound and defective do not overlap."""
    from scipy.optimize import minimize

    defects = truth.sum()
    target = np.where(truth > 0, (defects + 1) / (defects + 2), 1 / (len(truth) - defects + 2))
    centre, spread = scores.mean(), scores.std() or 1.0
    scaled = (scores - centre) / spread

    def loss(curve: Scores) -> tuple[float, Scores]:
        lines = curve[0] * scaled + curve[1]
        error = _logistic(lines) - target
        return float((np.logaddexp(0, lines) - target * lines).mean()), np.array(
            [(error * scaled).mean(), error.mean()]
        )

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(0, None), (None, None)]).x  # never falls
    slope = float(found[0] / spread)
    return {"method": "platt", "curve": [slope, float(found[1] - slope * centre)]}


def _fit_isotonic(scores: Scores, truth: Scores) -> dict[str, Any]:
    from scipy.optimize import isotonic_regression

    values, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rising = isotonic_regression(np.bincount(where, truth) / counts, weights=counts).x
    rising = np.clip(rising, 1 / (len(scores) + 2), 1 - 1 / (len(scores) + 2))  # nothing is certain
    corner = np.r_[True, (rising[1:-1] != rising[:-2]) | (rising[1:-1] != rising[2:]), True]
    return {"method": "isotonic", "scores": values[corner].tolist(), "probabilities": rising[corner].tolist()}


def _logistic(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))
