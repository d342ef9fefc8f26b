"""Saturated per-region overlap, sPRO: a region counts as found once its saturation area is (Bergmann et al., 2022).

Of a missing object nobody can mark the right pixels, so MVTec LOCO says of each defect how many have to be marked.
sPRO = mean over regions of min(marked pixels / saturation area, 1). As a region's share rises only with its `area`
highest scores, the integral is AUPRO's, with weight 1 / area on those pixels and 0 on the region's others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.metrics.ranking import count_ranks, integrate_overlap
from eval.metrics.scores import MapArray, ScoredImage, check_image, map_range


@dataclass(frozen=True, slots=True)
class SaturatedRegion:
    """One defect of an image.

    Attributes:
        index: Places of its pixels in the flattened mask, (D,) int64. Regions may overlap.
        area: Pixels that have to be marked, from 1 to D.
    """

    index: NDArray[np.int64]
    area: int


@dataclass(frozen=True, slots=True)
class SaturatedImage:
    """An image with its defects; the mask is their union."""

    image: ScoredImage
    regions: tuple[SaturatedRegion, ...]


def saturated_pro(images: Iterable[SaturatedImage], limit: float) -> float | None:
    """Area under sPRO against the false-positive rate, up to the limit and divided by it.

    Args:
        images: Of one category; iterated twice.
        limit: Upper limit of the false-positive rate, in (0, 1]; MVTec LOCO's main figure has 0.05.

    Returns:
        0..1; None without a region or without a sound pixel.

    Raises:
        UserError: If a map has a NaN or does not fit its mask.
    """
    scores: list[MapArray] = []
    weights: list[NDArray[np.float64]] = []
    sound = 0
    for one in images:
        check_image(one.image)
        map_range(one.image.anomaly_map, one.image.name)
        flat = one.image.anomaly_map.reshape(-1)
        sound += int(np.count_nonzero(~one.image.mask))
        for region in one.regions:
            scores.append(np.sort(flat[region.index])[-region.area :])
            weights.append(np.full(region.area, 1 / region.area))
    if not scores or not sound:
        return None
    values, weight = np.concatenate(scores), np.concatenate(weights)
    order = np.lexsort((weight, values))
    blocks = (np.sort(one.image.anomaly_map[~one.image.mask]) for one in images)
    ranks = count_ranks(values[order], blocks)
    lift = np.add.reduceat(weight[order], ranks.starts) / len(scores)
    return float((lift * integrate_overlap(ranks, limit)).sum() / limit)
