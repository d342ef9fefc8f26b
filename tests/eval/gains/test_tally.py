"""What single images add, against the metrics of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from eval.gains.tally import Tally, count_image, stack_counts, tally_figures
from eval.metrics.image import image_metrics
from eval.metrics.pixels import Engine, MapArray, pixel_metrics
from eval.metrics.scores import ScoredImage
from tests.eval.metrics.test_pixels import change, make_images

NAMES = ("auroc", "ap", "f1_max", "aupro")


def coarse(scores: MapArray) -> MapArray:
    """A few levels that defect pixels and others share: then bins hold ties alone."""
    return np.clip((2 * scores).round() / 2, -1, 2)


def tally_of(images: list[ScoredImage], cuts: np.ndarray) -> Tally:
    scores = [float(image.anomaly_map.mean()) for image in images]
    counts = [count_image(image, cuts) for image in images]
    return stack_counts([i.name for i in images], counts, cuts, scores, [bool(i.mask.any()) for i in images])


def weigh(tally: Tally, weights: list[int]) -> dict[str, float]:
    found = tally_figures(tally, np.array([weights], float), 0.3)
    return {name: float(values[0]) for name, values in found.items()}


@pytest.mark.parametrize("engine", list(Engine))
def test_enough_bins_give_the_metrics_themselves(engine: Engine) -> None:
    images = change(make_images(), coarse)
    exact = pixel_metrics(images, engine=engine, cuts=200)
    assert len(exact.cuts) == 7  # every level
    found = weigh(tally_of(images, exact.cuts), [1] * len(images))
    for name in NAMES:
        assert found[f"pixel_{name}"] == pytest.approx(100 * getattr(exact, name), abs=1e-5)


def test_few_bins_come_close() -> None:
    images = make_images(count=20, size=48)
    exact = pixel_metrics(images, cuts=63)
    assert len(exact.cuts) <= 63
    found = weigh(tally_of(images, exact.cuts), [1] * len(images))
    for name, tolerance in zip(NAMES, (0.3, 1.5, 1.0, 1.0), strict=True):
        assert found[f"pixel_{name}"] == pytest.approx(100 * getattr(exact, name), abs=tolerance)


def test_a_weight_is_an_image_that_is_there_so_often() -> None:
    images = change(make_images(count=6), coarse)
    cuts = pixel_metrics(images, cuts=500).cuts
    weights = [2, 0, 1, 3, 1, 0]
    drawn = [image for image, times in zip(images, weights, strict=True) for _ in range(times)]
    found, exact = weigh(tally_of(images, cuts), weights), pixel_metrics(drawn)
    for name in NAMES:
        assert found[f"pixel_{name}"] == pytest.approx(100 * getattr(exact, name), abs=1e-5)
    ranked = image_metrics([float(i.anomaly_map.mean()) for i in drawn], [bool(i.mask.any()) for i in drawn])
    for name in ("auroc", "ap", "f1_max"):
        assert found[f"image_{name}"] == pytest.approx(100 * getattr(ranked, name), abs=1e-9)


def test_what_has_no_value_is_nan() -> None:
    images = make_images(count=3)
    none = weigh(tally_of(images, np.empty(0)), [1, 1, 1])
    assert all(np.isnan(none[f"pixel_{name}"]) for name in NAMES) and none["image_auroc"] > 0
    sound = weigh(tally_of(images, pixel_metrics(images, cuts=20).cuts), [1, 0, 0])
    assert all(np.isnan(value) for value in sound.values())


def test_images_are_found_by_their_ids() -> None:
    images = make_images(count=4)
    cuts = pixel_metrics(images, cuts=20).cuts
    one, other = tally_of(images, cuts).sorted(), tally_of(images[::-1], cuts).sorted()
    assert one.ids == other.ids == tuple(sorted(image.name for image in images))
    assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.scores, other.scores)
