"""Split-conformal thresholds: an order statistic of the scores of sound images that the model was not fitted on.

A fresh sound image and the n sound ones of the calibration are exchangeable, so its score is equally likely to fall
into each of the n + 1 gaps between theirs: a threshold just above the k-th smallest score is reached by it with a
probability of at most (n + 1 − k) / (n + 1), whatever the model is (Vovk et al., 2005; Papadopoulos et al., 2002). For
a rate of false alarms r, k = n + 1 − ⌊r (n + 1)⌋ is the smallest that keeps it, and exists from n = ⌈1 / r⌉ − 1 images
on: 19 for 5 %, 49 for 2 %.

That is the mean over calibrations. Of ONE calibration, the rate is a draw from Beta(n + 1 − k, k), and the number of
false alarms among m fresh sound images one from the beta-binomial of it: `expected_alarms` is its 95 % interval.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, gammaln

from data.errors import UserError

LEVEL = 0.95  # of the interval
ROUNDING = 1e-9  # 0.05 · 20 must be 1, however floating point writes it


def images_needed(rate: float) -> int:
    """The fewest sound images that a rate of false alarms can be promised from.

    Raises:
        UserError: If the rate is not between 0 and 1.
    """
    _check_rate(rate)
    return math.ceil(1 / rate - ROUNDING) - 1


def rate_supported(normals: int) -> float:
    """The smallest rate of false alarms that so many sound images can promise."""
    return 1 / (normals + 1)


def threshold_at(scores: ArrayLike, rate: float) -> float:
    """The threshold that a fresh sound image reaches with a probability of at most a rate.

    Args:
        scores: Scores of sound images that the model was not fitted on, (N,); higher is worse.
        rate: Share of false alarms, above 0 and below 1.

    Returns:
        The threshold: an image is flagged if its score is at or above it.

    Raises:
        UserError: If the images are too few for the rate, or a score is not finite.
    """
    values = np.sort(np.asarray(scores, np.float64).ravel())
    check_supported(len(values), rate)
    if not np.isfinite(values).all():
        raise UserError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite. Check the model.")
    return float(np.nextafter(values[len(values) - _alarms(len(values), rate)], np.inf))


def check_supported(normals: int, rate: float) -> None:
    """Refuses a rate that needs more sound images than there are.

    Raises:
        UserError: With the number that it needs, and the rate that the images would support.
    """
    needed = images_needed(rate)
    if normals < needed:
        possible = math.ceil(1000 * rate_supported(normals)) / 1000
        instead = f" or choose false_alarms={possible:g}" if normals else ""
        raise UserError(
            f"false_alarms={rate:g} needs at least {needed} sound images that the model was not fitted on; there are "
            f"{normals}. Add some{instead}."
        )


def expected_alarms(normals: int, rate: float, fresh: int) -> tuple[float, float]:
    """The 95 % interval of the share of false alarms among fresh sound images.

    Args:
        normals: Sound images that the threshold was taken from.
        rate: Rate that it was taken for.
        fresh: Number of fresh sound images.

    Returns:
        Lowest and highest share, 0..1: quantiles of the beta-binomial distribution.

    Raises:
        UserError: If the images are too few for the rate.
    """
    check_supported(normals, rate)
    alarms = _alarms(normals, rate)
    low, high = beta_binomial_interval(fresh, alarms, normals + 1 - alarms, LEVEL)
    return low / fresh, high / fresh


def beta_binomial_interval(draws: int, a: float, b: float, level: float) -> tuple[int, int]:
    """The middle of the beta-binomial distribution: how often something happens in so many draws.

    Args:
        draws: Number of draws.
        a: First parameter of the beta distribution that the probability is drawn from.
        b: Its second one.
        level: Probability of the interval; half of the rest lies on each side.
    """
    counts = np.arange(draws + 1)
    ways = gammaln(draws + 1) - gammaln(counts + 1) - gammaln(draws - counts + 1)
    reached = np.exp(ways + betaln(counts + a, draws - counts + b) - betaln(a, b)).cumsum()
    low, high = np.searchsorted(reached, [(1 - level) / 2, (1 + level) / 2])
    return int(low), int(min(high, draws))


def split_folds(count: int, folds: int, seed: int) -> list[list[int]]:
    """Indices 0..count−1 in folds of nearly equal size, at random: each fold is scored by a fit on the others.

    Raises:
        UserError: If there are fewer than two indices.
    """
    if count < 2:
        raise UserError(f"Cross-validation needs at least two sound images, not {count}. Add some.")
    order = list(range(count))
    random.Random(seed).shuffle(order)
    folds = min(folds, count)
    return [sorted(order[start::folds]) for start in range(folds)]


def join_folds(folds: Sequence[Sequence[int]], values: Sequence[Sequence[float]]) -> list[float]:
    """One value an index, from those of its fold."""
    found = {
        index: value
        for fold, scored in zip(folds, values, strict=True)
        for index, value in zip(fold, scored, strict=True)
    }
    return [found[index] for index in range(len(found))]


def _alarms(normals: int, rate: float) -> int:
    """How many of the n + 1 gaps lie at or above the threshold."""
    return math.floor(rate * (normals + 1) + ROUNDING)


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise UserError(f"false_alarms={rate} must be between 0 and 1, for example 0.02 for 2 %.")
