"""sPRO against a loop over all thresholds."""

from itertools import pairwise

import numpy as np
import pytest

from eval.metrics.pixels import pixel_metrics
from eval.metrics.saturation import SaturatedImage, SaturatedRegion, saturated_pro
from eval.metrics.scores import ScoredImage


def make_images(areas: tuple[int, ...] = (10, 60, 7), ties: bool = False) -> list[SaturatedImage]:
    """Three regions in two images, two of them overlapping, and a sound image."""
    draw, images = np.random.default_rng(3), []
    shapes = [[(slice(2, 10), slice(2, 12)), (slice(6, 14), slice(8, 18))], [(slice(20, 24), slice(4, 9))], []]
    left = list(areas)
    for number, places in enumerate(shapes):
        mask, regions = np.zeros((30, 32), bool), []
        for place in places:
            part = np.zeros_like(mask)
            part[place] = True
            mask |= part
            regions.append(SaturatedRegion(np.flatnonzero(part), left.pop(0)))
        scores = draw.normal(size=mask.shape) + 1.5 * mask
        scores = np.round(scores, 1) if ties else scores
        images.append(SaturatedImage(ScoredImage(f"{number}.png", scores, mask), tuple(regions)))
    return images


def looped(images: list[SaturatedImage], limit: float) -> float:
    """The curve at every score, its trapezoids up to the limit."""
    maps = [one.image.anomaly_map.ravel() for one in images]
    sound = np.concatenate([one.image.anomaly_map[~one.image.mask] for one in images])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate(maps))[::-1]:
        shares = [
            min((scores[region.index] >= threshold).sum() / region.area, 1)
            for one, scores in zip(images, maps, strict=True)
            for region in one.regions
        ]
        points.append(((sound >= threshold).mean(), float(np.mean(shares))))
    total = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            total += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return total / limit


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_equals_the_loop(limit: float, ties: bool) -> None:
    images = make_images(ties=ties)
    assert saturated_pro(images, limit) == pytest.approx(looped(images, limit), abs=1e-12)


def test_with_whole_regions_it_is_aupro() -> None:
    images = [one for one in make_images((80, 80, 20)) if len(one.regions) < 2]  # overlapping ones are one for AUPRO
    assert saturated_pro(images, 0.3) == pytest.approx(pixel_metrics([one.image for one in images]).aupro, abs=1e-12)
    assert saturated_pro(make_images((1, 1, 1)), 0.3) > saturated_pro(make_images((80, 80, 20)), 0.3)


def test_without_a_value() -> None:
    assert saturated_pro(make_images()[2:], 0.05) is None
    whole = ScoredImage("a.png", np.ones((4, 4)), np.ones((4, 4), bool))
    assert saturated_pro([SaturatedImage(whole, (SaturatedRegion(np.arange(16), 3),))], 0.05) is None
