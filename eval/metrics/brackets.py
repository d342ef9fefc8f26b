"""From a histogram of scores to metrics, each between the two ends that the unknown order within the bins allows.

With t and f defect and other pixels above a bin that holds p and n of them:
AUROC: a pair within the bin counts one half, and could count 0 or 1.
AP: tied pixels give each defect pixel the precision (t+p) / (t+p+f+n); no order gives more than (t+p) / (t+p+f), and
the order with the others first gives Σ (t+i) / (t+i+f+n) ≥ p - F ln(1 + p / (t+F)) with F = f+n.
F1: attained at the ends of bins; between them at most 2 (t+p) / (t+p+f+P).
AUPRO: the curve rises from one end of the bin to the other, at once at the left end or only at the right one.
In a bin that one float32 alone falls into, all scores are ties: both ends are the value itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.metrics.histogram import UNIT, PixelHistogram
from eval.metrics.keys import BINS, scores_of
from eval.metrics.ranking import RankCounts, integrate_overlap

Bracket = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BinnedRanks:
    """A histogram as counts at each bin with a defect pixel, in increasing order of score.

    Attributes:
        ranks: The counts; `scores` holds the lowest score that a bin may hold.
        lift: Share of all regions that each bin adds to the overlap, (V,).
        certain: Whether a bin holds one score alone, (V,) bool.
        slack: Largest error of the overlap from rounding the weights of pixels to integers.
    """

    ranks: RankCounts
    lift: NDArray[np.float64]
    certain: NDArray[np.bool_]
    slack: float


def rank_bins(histogram: PixelHistogram) -> BinnedRanks:
    """Ranks the bins of a histogram with defect pixels, other pixels and at least two scores."""
    least, greatest = histogram.least, histogram.greatest
    assert least.key is not None and greatest.key is not None and least.key < greatest.key
    places, defects = histogram.cells("defects")
    # The two ends are bins of their own, taken out of the bins that hold them.
    at_least, at_greatest = places[0] == least.key >> histogram.shift, places[-1] == greatest.key >> histogram.shift
    total = histogram.scores[places & (BINS - 1)]
    below = histogram.below(places)
    weights = histogram.weights[places & (BINS - 1)]
    first, last = slice(0, int(at_least)), slice(len(places) - int(at_greatest), None)
    for column, end in ((first, least), (last, greatest)):
        total[column] -= end.counts[0]
        defects[column] -= end.counts[1]
        weights[column] -= end.counts[2]
    below[first] += least.counts[0]
    lowest = np.clip(places << histogram.shift, least.key + 1, greatest.key)
    pixels = histogram.pixels
    keys = np.r_[least.key, lowest, greatest.key]
    alone = np.nextafter(scores_of(lowest), np.float32(np.inf)) >= scores_of((places + 1) << histogram.shift)
    below = np.r_[0, below, pixels - greatest.counts[0]]
    total = np.r_[least.counts[0], total, greatest.counts[0]]
    defects = np.r_[least.counts[1], defects, greatest.counts[1]]
    weights = np.r_[least.counts[2], weights, greatest.counts[2]]
    keep = defects > 0
    ties = defects[keep]
    starts = np.cumsum(ties) - ties
    others = below[keep] - starts
    ranks = RankCounts(
        scores=scores_of(keys[keep]),
        starts=starts,
        ties=ties,
        below=others,
        not_above=others + total[keep] - ties,
        negatives=pixels - histogram.defect_pixels,
    )
    certain = np.r_[True, alone, True] & (not histogram.rounded)
    lift = weights[keep] / (UNIT * histogram.regions)
    slack = histogram.defect_pixels / (2 * UNIT * histogram.regions)
    return BinnedRanks(ranks, lift, certain[keep], slack)


def bracket_figures(bins: BinnedRanks, figures: dict[str, float], limit: float) -> dict[str, Bracket]:
    """The ends of each figure.

    Args:
        bins: The ranked bins.
        figures: The estimates `auroc`, `ap`, `f1_max` and `aupro`; each lies within its bracket.
        limit: Upper limit of the false-positive rate in AUPRO.
    """
    ranks, unsure = bins.ranks, ~bins.certain
    ties, negatives = ranks.ties, ranks.negatives
    positives = int(ties.sum())
    inside = ranks.not_above - ranks.below
    half = float((ties * inside.astype(np.float64))[unsure].sum()) / (2 * positives * negatives)

    reached = positives - ranks.starts  # t + p
    above, below = negatives - ranks.not_above, negatives - ranks.below  # f, f + n
    tied = ties * (reached / (reached + below))
    best = ties * (reached / (reached + above))
    before = (reached - ties + below).astype(np.float64)  # t + F
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = np.where(below > 0, ties - below * np.log1p(ties / before), ties)
    precision = [float(np.where(unsure, end, tied).sum()) / positives for end in (worst, best)]

    between = np.where(unsure, 2 * reached / (reached + above + positives), 0.0)
    start, end = above / negatives, below / negatives
    heights = [np.clip(limit - rate, 0, None) for rate in (end, start)]
    linear = integrate_overlap(ranks, limit)
    areas = [float((bins.lift * np.where(unsure, height, linear)).sum()) / limit for height in heights]
    ends = {
        "auroc": (figures["auroc"] - half, figures["auroc"] + half),
        "ap": (precision[0], precision[1]),
        "f1_max": (figures["f1_max"], max(figures["f1_max"], float(between.max()))),
        "aupro": (areas[0] - bins.slack, areas[1] + bins.slack),
    }
    return {name: (min(low, figures[name]), max(high, figures[name])) for name, (low, high) in ends.items()}
