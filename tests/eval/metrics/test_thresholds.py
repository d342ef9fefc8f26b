"""Figures at fixed thresholds against loops over the thresholds."""

import numpy as np
import pytest
from scipy import ndimage

from data.errors import UserError
from eval.metrics.pixels import pixel_metrics
from eval.metrics.scores import ScoredImage
from eval.metrics.thresholds import LEGACY_STEPS, LEGACY_WARNING, legacy_aupro, mean_f1


def make_images(
    seed: int = 0, count: int = 4, good: float = 2.0, shape: tuple[int, int] = (40, 48)
) -> list[ScoredImage]:
    """Noise with squares that score higher."""
    draw, images = np.random.default_rng(seed), []
    for number in range(count):
        mask = np.zeros(shape, bool)
        if number:
            mask[5 : 5 + 4 * number, 6:16], mask[30:34, 30 : 32 + 3 * number] = True, True
        scores = draw.normal(size=mask.shape) + good * mask
        images.append(ScoredImage(f"{number}.png", scores.astype(np.float32), mask))
    return images


def looped_aupro(images: list[ScoredImage]) -> float:
    """The published algorithm, one threshold at a time."""
    maps = np.stack([image.anomaly_map for image in images]).astype(np.float64)
    masks = np.stack([image.mask for image in images])
    points = []
    for step in range(200):
        flagged = maps > maps.min() + (maps.max() - maps.min()) * step / 200
        shares = []
        for one, mask in zip(flagged, masks, strict=True):
            labels, regions = ndimage.label(mask, np.ones((3, 3)))
            shares += [one[labels == region].mean() for region in range(1, regions + 1)]
        points.append((flagged[~masks].mean(), np.mean(shares)))
    kept = np.array([point for point in points if point[0] < 0.3])[::-1]
    rates = (kept[:, 0] - kept[:, 0].min()) / (kept[:, 0].max() - kept[:, 0].min())
    return float(sum(np.diff(rates) * (kept[1:, 1] + kept[:-1, 1]) / 2))


@pytest.mark.parametrize("seed", range(3))
def test_legacy_aupro_equals_the_loop(seed: int) -> None:
    images = make_images(seed)
    assert legacy_aupro(images) == pytest.approx(looped_aupro(images), abs=1e-12)


def test_legacy_aupro_is_near_the_exact_one_on_even_scores_and_loses_nearly_all_on_uneven_ones() -> None:
    """The same ranking: the exact figure stays, of the legacy one next to nothing is left."""
    even = make_images(count=6, good=2.5, shape=(64, 64))
    uneven = [ScoredImage(one.name, np.exp(3 * one.anomaly_map.astype(np.float64)), one.mask) for one in even]
    exact, legacy = pixel_metrics(even).aupro, legacy_aupro(even)
    assert exact is not None and legacy is not None
    assert (exact, legacy) == (pytest.approx(0.887, abs=5e-4), pytest.approx(0.886, abs=5e-4))  # as eval/README says
    assert pixel_metrics(uneven).aupro == pytest.approx(exact, abs=1e-12)
    changed = legacy_aupro(uneven)
    assert changed is not None and changed == pytest.approx(0.076, abs=5e-4)
    assert changed == pytest.approx(looped_aupro(uneven), abs=1e-12)


def test_the_warning_says_that_the_two_do_not_compare() -> None:
    assert "not comparable with the exact AUPRO" in LEGACY_WARNING and str(LEGACY_STEPS) in LEGACY_WARNING


def test_mean_f1_equals_the_loop() -> None:
    images = make_images()
    scores = np.concatenate([image.anomaly_map.ravel() for image in images]).astype(np.float64)
    truth = np.concatenate([image.mask.ravel() for image in images])
    low, high = scores.min(), scores.max()
    f1 = [
        2 * (found & truth).sum() / (found.sum() + truth.sum())
        for share in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
        for found in [scores >= low + share * (high - low)]
    ]
    assert mean_f1(images) == pytest.approx(np.mean(f1), abs=1e-12)


def test_without_a_value() -> None:
    sound = make_images(count=1)
    flat = [ScoredImage("a.png", np.ones((4, 4), np.float32), np.eye(4, dtype=bool))]
    assert legacy_aupro(sound) is None and mean_f1(sound) is None
    assert legacy_aupro(flat) is None
    assert legacy_aupro([ScoredImage("a.png", np.ones((4, 4), np.float32), np.ones((4, 4), bool))]) is None


def test_nan_is_named() -> None:
    with pytest.raises(UserError, match=r"NaN values: a\.png"):
        legacy_aupro([ScoredImage("a.png", np.full((4, 4), np.nan, np.float32), np.eye(4, dtype=bool))])
