from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from data.errors import UserError
from eval.metrics.pixels import MapArray, PixelMetrics, ScoredImage, pixel_metrics

TOLERANCE = 1e-12


def make_images(seed: int = 0, *, count: int = 7, size: int = 24, dtype: type = np.float32) -> list[ScoredImage]:
    """Noisy maps with zero to three rectangular defects each; the first is normal."""
    random = np.random.default_rng(seed)
    images = []
    for index in range(count):
        mask = np.zeros((size, size + 3), bool)
        for _ in range(0 if index == 0 else random.integers(1, 4)):
            top, left = random.integers(0, size - 6, 2)
            mask[top : top + random.integers(1, 6), left : left + random.integers(1, 6)] = True
        anomaly_map = (random.normal(size=mask.shape) + 1.5 * mask).astype(dtype)
        images.append(ScoredImage(f"{index}.png", anomaly_map, mask))
    return images


def change(images: list[ScoredImage], function: Callable[[MapArray], MapArray]) -> list[ScoredImage]:
    return [ScoredImage(image.name, function(image.anomaly_map), image.mask) for image in images]


def reference_aupro(images: list[ScoredImage], limit: float) -> float:
    """AUPRO by its definition: the curve at every distinct score, integrated by the trapezoidal rule."""
    negatives = np.concatenate([image.anomaly_map[~image.mask] for image in images])
    regions = []
    for image in images:
        labels, count = label(image.mask, np.ones((3, 3)))
        regions += [image.anomaly_map[labels == index] for index in range(1, count + 1)]
    thresholds = np.unique(np.concatenate([image.anomaly_map.ravel() for image in images]))[::-1]
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        rates.append(float(np.mean(negatives >= threshold)))
        overlaps.append(float(np.mean([np.mean(region >= threshold) for region in regions])))
    inside = [rate for rate in rates if rate < limit] + [limit]
    heights = [*overlaps[: len(inside) - 1], float(np.interp(limit, rates, overlaps))]
    return float(np.trapezoid(heights, inside)) / limit


def assert_matches_references(images: list[ScoredImage], metrics: PixelMetrics) -> None:
    truth = np.concatenate([image.mask.ravel() for image in images])
    scores = np.concatenate([image.anomaly_map.ravel() for image in images])
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert metrics.auroc == pytest.approx(roc_auc_score(truth, scores), abs=TOLERANCE)
    assert metrics.ap == pytest.approx(average_precision_score(truth, scores), abs=TOLERANCE)
    assert metrics.f1_max == pytest.approx(f1.max(), abs=TOLERANCE)
    flagged = scores >= metrics.f1_threshold
    assert 2 * (flagged & truth).sum() / (flagged.sum() + truth.sum()) == pytest.approx(f1.max(), abs=TOLERANCE)
    assert metrics.aupro == pytest.approx(reference_aupro(images, 0.3), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_agrees_with_scikit_learn(dtype: type) -> None:
    images = make_images(dtype=dtype)
    assert_matches_references(images, pixel_metrics(images))


@pytest.mark.parametrize(
    "function",
    [
        lambda scores: np.round(scores),
        lambda scores: (scores > 1).astype(np.float32),
        lambda scores: (0.5 + 0.5 * np.tanh(20 * scores)).astype(np.float32),  # saturated at 0 and 1
        lambda scores: scores * np.float32(1e-42),  # denormal
        lambda scores: 1e6 + scores.astype(np.float64) * 1e-9,
        lambda scores: scores.astype(np.float64) * 1e-30,
    ],
    ids=["few values", "two values", "saturated", "denormal", "large offset", "tiny differences"],
)
def test_ties_and_adversarial_scores(function: Callable[[MapArray], MapArray]) -> None:
    images = change(make_images(3), function)
    assert_matches_references(images, pixel_metrics(images))


def test_infinite_scores_rank_at_the_ends() -> None:
    images = make_images(4)
    infinite = change(images, lambda scores: np.where(scores > 2, np.inf, np.where(scores < -1, -np.inf, scores)))
    finite = change(images, lambda scores: np.where(scores > 2, 99, np.where(scores < -1, -99, scores)))
    assert pixel_metrics(infinite).auroc == pixel_metrics(finite).auroc
    assert pixel_metrics(infinite).aupro == pixel_metrics(finite).aupro


def test_one_defect_pixel() -> None:
    mask = np.zeros((8, 8), bool)
    mask[3, 4] = True
    images = [ScoredImage("a.png", np.arange(64, dtype=np.float32).reshape(8, 8), mask)]
    assert pixel_metrics(images).auroc == pytest.approx(28 / 63, abs=TOLERANCE)


@pytest.mark.parametrize("block_pixels", [1, 600, 1500, 10**9])
def test_block_size_changes_nothing(block_pixels: int) -> None:
    images = change(make_images(5), lambda scores: np.round(scores, 1))
    assert pixel_metrics(images, block_pixels=block_pixels) == pixel_metrics(images, block_pixels=10**7)


def test_order_of_images_changes_nothing() -> None:
    images = change(make_images(6), np.round)
    assert pixel_metrics(images[::-1]) == pixel_metrics(images)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_limit(limit: float) -> None:
    images = make_images(7)
    assert pixel_metrics(images, aupro_limit=limit).aupro == pytest.approx(reference_aupro(images, limit), abs=1e-9)


def test_aupro_weighs_regions_equally() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0, 0] = True
    mask[8:16, 8:16] = True
    anomaly_map = np.zeros((20, 20), np.float32)
    anomaly_map[0, 0] = 1  # the small region is found, the large one ties with the background
    found = pixel_metrics([ScoredImage("a.png", anomaly_map, mask)]).aupro
    assert found == pytest.approx(0.5 + 0.5 * 0.15, abs=TOLERANCE)


def test_diagonal_neighbours_are_one_region() -> None:
    images = [ScoredImage("a.png", np.eye(6, dtype=np.float32)[::-1], np.eye(6, dtype=bool))]
    assert pixel_metrics(images).aupro == pytest.approx(reference_aupro(images, 0.3), abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "mask", "reason"),
    [
        (np.random.default_rng(0).random((4, 4)), np.zeros((4, 4), bool), "no defect pixel"),
        (np.random.default_rng(0).random((4, 4)), np.ones((4, 4), bool), "every pixel is defect"),
        (np.full((4, 4), 0.3), np.eye(4, dtype=bool), "all scores are equal"),
    ],
)
def test_undefined_has_a_reason(scores: MapArray, mask: np.ndarray, reason: str) -> None:
    metrics = pixel_metrics([ScoredImage("a.png", scores, mask)])
    assert (metrics.auroc, metrics.ap, metrics.f1_max, metrics.f1_threshold, metrics.aupro) == (None,) * 5
    assert reason in str(metrics.reason)
    assert metrics.pixels == 16


def test_no_images() -> None:
    assert pixel_metrics([]).reason is not None


def test_nan_is_refused_by_name() -> None:
    images = make_images()
    images[2].anomaly_map[1, 1] = np.nan
    with pytest.raises(UserError, match=r"1 NaN values: 2\.png"):
        pixel_metrics(images)


def test_shape_and_type_are_checked() -> None:
    with pytest.raises(UserError, match=r"differ in shape: x\.png"):
        pixel_metrics([ScoredImage("x.png", np.zeros((4, 5), np.float32), np.zeros((5, 4), bool))])
    with pytest.raises(UserError, match=r"floating point .*: x\.png"):
        pixel_metrics([ScoredImage("x.png", np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool))])  # type: ignore[arg-type]


def test_an_iterator_is_refused() -> None:
    with pytest.raises(ValueError, match="used up"):
        pixel_metrics(iter(make_images()))


@pytest.mark.parametrize("limit", [-0.3, 0.0, 1.1, 2.0])
def test_limit_is_checked(limit: float) -> None:
    with pytest.raises(ValueError, match="aupro_limit"):
        pixel_metrics(make_images(), aupro_limit=limit)


def test_inputs_are_left_alone() -> None:
    images = make_images()
    before = [(image.anomaly_map.copy(), image.mask.copy()) for image in images]
    pixel_metrics(images)
    for image, (anomaly_map, mask) in zip(images, before, strict=True):
        assert np.array_equal(image.anomaly_map, anomaly_map) and np.array_equal(image.mask, mask)
