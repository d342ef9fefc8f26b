"""Ranking metrics from counts: exact AUROC, AP and F1-max without sorting all scores together.

All three depend only on how many negatives lie below, and how many tie with, each distinct POSITIVE score.
Positives are few (defect pixels), so they are sorted once; negatives are sorted in blocks and only counted.
Ties are handled as scikit-learn does: AUROC counts a tie as half, AP and F1 take tied scores together.

Shape legend: P positives, N negatives, V distinct positive scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingMetrics:
    """Metrics of one ranking, as fractions in [0, 1].

    Either all values are numbers and `reason` is None, or all are None and `reason` says why: no positives, no
    negatives, or one single score for everything (where AUROC would be a meaningless 0.5).

    Attributes:
        auroc: Area under the ROC curve.
        ap: Average precision (step-wise, as scikit-learn's `average_precision_score`).
        f1_max: Largest F1 over all thresholds.
        f1_threshold: The highest threshold that reaches it; scores at or above it are called defect.
        reason: Why there are no values.
    """

    auroc: float | None = None
    ap: float | None = None
    f1_max: float | None = None
    f1_threshold: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RankCounts:
    """Counts at each distinct positive score, in increasing order of score.

    Attributes:
        scores: Distinct positive scores, (V,).
        starts: Index of the first positive with that score in the sorted positives, (V,) int64.
        ties: Number of positives with that score, (V,) int64.
        below: Number of negatives with a smaller score, (V,) int64.
        not_above: Number of negatives with a smaller or equal score, (V,) int64.
        negatives: Number of negatives.
    """

    scores: NDArray[np.floating]
    starts: NDArray[np.int64]
    ties: NDArray[np.int64]
    below: NDArray[np.int64]
    not_above: NDArray[np.int64]
    negatives: int


def count_ranks(positives: NDArray[np.floating], blocks: Iterable[NDArray[np.floating]]) -> RankCounts:
    """Counts the negatives around each distinct positive score.

    Args:
        positives: All positive scores in increasing order, (P,), no NaN, P > 0.
        blocks: Negative scores in blocks, each in increasing order, no NaN.
    """
    starts = np.flatnonzero(np.r_[True, positives[1:] != positives[:-1]])
    scores = positives[starts]
    below = np.zeros(len(scores), np.int64)
    not_above = np.zeros(len(scores), np.int64)
    negatives = 0
    for block in blocks:
        left = np.searchsorted(block, scores)
        right = left.copy()
        inside = left < len(block)
        tied = np.flatnonzero(inside)[block[left[inside]] == scores[inside]]
        right[tied] = np.searchsorted(block, scores[tied], "right")
        below += left
        not_above += right
        negatives += len(block)
    ties = np.diff(np.r_[starts, len(positives)])
    return RankCounts(scores, starts, ties, below, not_above, negatives)


def rank_metrics(counts: RankCounts) -> RankingMetrics:
    """AUROC, AP and F1-max from counts with at least one positive and one negative."""
    positives = int(counts.ties.sum())
    negatives = counts.negatives
    true_positives = positives - counts.starts
    false_positives = negatives - counts.below
    flagged = true_positives + false_positives
    f1 = 2 * true_positives / (flagged + positives)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    pairs = ((counts.below + counts.not_above).astype(np.float64) * counts.ties).sum() / 2
    return RankingMetrics(
        auroc=float(pairs / positives / negatives),
        ap=float((true_positives / flagged * counts.ties).sum() / positives),
        f1_max=float(f1[best]),
        f1_threshold=float(counts.scores[best]),
    )


def choose_cuts(counts: RankCounts, most: int) -> NDArray[np.float64]:
    """Positive scores that cut all scores into parts alike: each holds few of the positives and few of the negatives.

    Counts of any images in these parts give the metrics nearly as well as the scores themselves, since the metrics only
    change at positive scores. Scores at or above a cut belong to the part that it opens.

    Args:
        counts: Counts at each distinct positive score.
        most: At most so many cuts. Between two of them lie shares of the positives and of the negatives that add up to
            2 / `most`, and to more only by the step from one positive score to the next.

    Returns:
        Cuts in increasing order, the least positive score first.
    """
    passed = counts.starts / counts.ties.sum() + counts.below / counts.negatives  # 0..2
    part = np.floor(passed * most / 2)
    return counts.scores[np.r_[True, part[1:] > part[:-1]]].astype(np.float64)


def integrate_overlap(ranks: RankCounts, limit: float) -> NDArray[np.float64]:
    """Area under the PRO curve that one unit of overlap adds at each score: it rises linearly over one segment.

    Args:
        ranks: Counts at each distinct defect score.
        limit: Upper limit of the false-positive rate, in (0, 1].

    Returns:
        (V,); their sum weighted by the lift, divided by the limit, is the AUPRO.
    """
    start = (ranks.negatives - ranks.not_above) / ranks.negatives
    end = (ranks.negatives - ranks.below) / ranks.negatives
    return overlap_area(start, end, limit)


def overlap_area(start: NDArray[np.float64], end: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Area below the limit under one unit of overlap that rises from one false-positive rate to another, (…)."""
    width = np.where(end > start, end - start, 1.0)
    cut = np.where(start < limit, (limit - start) ** 2 / (2 * width), 0.0)
    return np.where(end <= limit, limit - (start + end) / 2, cut)
