from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from eval.metrics.histogram import PixelHistogram
from eval.metrics.histogram_state import load_histogram, pack_histogram, save_histogram, unpack_histogram
from eval.metrics.pixels import Engine, MapArray, ScoredImage, pixel_metrics, read_histogram

FIGURES = ("auroc", "ap", "f1_max", "aupro")


def make_images(seed: int = 0, count: int = 6, size: int = 40) -> list[ScoredImage]:
    random = np.random.default_rng(seed)
    images = []
    for index in range(count):
        mask = np.zeros((size, size + 5), bool)
        for _ in range(index % 3):
            top, left = random.integers(0, size - 9, 2)
            mask[top : top + random.integers(1, 9), left : left + random.integers(1, 9)] = True
        images.append(ScoredImage(f"{index}", (random.normal(size=mask.shape) + mask).astype(np.float32), mask))
    return images


CHANGES: dict[str, Callable[[MapArray], MapArray]] = {
    "signed": lambda s: s,
    "sigmoid": lambda s: (1 / (1 + np.exp(-s))).astype(np.float32),
    "saturated": lambda s: (1 / (1 + np.exp(-25 * s.astype(np.float64)))).astype(np.float32),
    "few values": lambda s: np.round(s),
    "two values": lambda s: (s > 0.5).astype(np.float32),
    "outlier": lambda s: np.where(s == s.max(), np.float32(1e30), s),
    "infinite": lambda s: np.where(s > 2, np.inf, np.where(s < -2, -np.inf, s)).astype(np.float32),
    "denormal": lambda s: (s * np.float32(1e-42)).astype(np.float32),
    "tiny differences": lambda s: s.astype(np.float64) * 1e-30,
    "beyond float32": lambda s: 1e6 + s.astype(np.float64) * 0.3,
    "half": lambda s: s.astype(np.float16),
}


def changed(name: str, seed: int) -> list[ScoredImage]:
    return [ScoredImage(i.name, CHANGES[name](i.anomaly_map), i.mask) for i in make_images(seed)]


def stream(images: list[ScoredImage]) -> PixelHistogram:
    histogram = PixelHistogram(threshold=0.5)
    for image in images:
        histogram.add(image)
    return histogram


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CHANGES)
def test_brackets_hold_the_exact_figures(name: str, seed: int) -> None:
    images = changed(name, seed)
    exact = pixel_metrics(images, iou_threshold=0.5)
    streamed = pixel_metrics(images, engine=Engine.streaming, iou_threshold=0.5)
    for figure in FIGURES:
        low, high = streamed.brackets[figure]
        value = getattr(exact, figure)
        assert low - 1e-12 <= value <= high + 1e-12
        assert low <= getattr(streamed, figure) <= high
    assert streamed.iou == exact.iou
    assert (streamed.pixels, streamed.defect_pixels, streamed.images) == (exact.pixels, exact.defect_pixels, 6)
    if name != "beyond float32":
        assert streamed.auroc == pytest.approx(exact.auroc, abs=1e-4)
        assert streamed.ap == pytest.approx(exact.ap, abs=2e-3)


@pytest.mark.parametrize("name", ["few values", "two values"])
def test_tied_scores_give_the_exact_figures(name: str) -> None:
    images = changed(name, 3)
    exact, streamed = pixel_metrics(images), pixel_metrics(images, engine=Engine.streaming)
    for figure in FIGURES:
        assert getattr(streamed, figure) == pytest.approx(getattr(exact, figure), abs=1e-9)
        low, high = streamed.brackets[figure]
        assert high - low < 1e-9 or name == "few values"  # ties are certain at the two ends alone
    if name == "two values":
        assert streamed.f1_threshold == exact.f1_threshold


@pytest.mark.parametrize("name", CHANGES)
def test_neither_order_nor_sharing_changes_a_bit(name: str) -> None:
    images = changed(name, 4)
    whole = pack_histogram(stream(images))
    assert pack_histogram(stream(images[::-1])) == whole
    parts = [stream(images[rank::3]) for rank in range(3)]
    for order in ((0, 1, 2), (2, 0, 1)):
        total = PixelHistogram(threshold=0.5)
        for index in order:
            total.merge(parts[index])
        assert pack_histogram(total) == whole
        assert read_histogram(total) == read_histogram(stream(images))


def test_work_goes_on_from_a_file(tmp_path: Path) -> None:
    images = changed("sigmoid", 5)
    path = tmp_path / "counts" / "a.safetensors"
    save_histogram(path, stream(images[:3]), "note")
    assert load_histogram(path, "other") is None
    assert load_histogram(tmp_path / "none", "note") is None
    histogram = load_histogram(path, "note")
    assert histogram is not None and histogram.images == 3
    for image in images[3:]:
        histogram.add(image)
    assert pack_histogram(histogram) == pack_histogram(stream(images))
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match="Damaged histogram"):
        load_histogram(path, "note")
    with pytest.raises(UserError, match="damaged"):
        unpack_histogram(b"broken")


def test_an_image_without_a_defect_counts_no_region() -> None:
    regions = [cv2.connectedComponents(image.mask.astype(np.uint8))[0] - 1 for image in make_images()]
    assert regions.count(0) == 2
    for image, count in zip(make_images(), regions, strict=True):
        assert stream([image]).regions == count
    assert stream(make_images()).regions == sum(regions)


def test_an_empty_histogram_travels() -> None:
    histogram, note = unpack_histogram(pack_histogram(PixelHistogram(), "x"))
    assert (histogram.images, note, read_histogram(histogram).reason) == (0, "x", "no image")


def test_no_table_of_half_a_million_bins_is_shown() -> None:
    shown = repr(stream(make_images()))
    assert "images=6" in shown
    assert not any(f" {name}=" in shown for name in ("scores", "defects", "weights"))


def test_what_is_refused() -> None:
    histogram = stream(make_images())
    before = pack_histogram(histogram)
    bad = make_images()[1]
    bad.anomaly_map[0, 0] = np.nan
    with pytest.raises(UserError, match="1 NaN values: 1"):
        histogram.add(bad)
    assert pack_histogram(histogram) == before
    with pytest.raises(ValueError, match="Thresholds"):
        histogram.merge(PixelHistogram(threshold=0.1))
    many = PixelHistogram(regions=1 << 18)
    with pytest.raises(UserError, match="engine=exact"):
        many.add(make_images()[2])


def test_undefined_has_a_reason() -> None:
    mask = np.eye(4, dtype=bool)
    noise = np.random.default_rng(0).random((4, 4))
    for scores, truth, reason in [
        (noise, ~mask & False, "no defect pixel"),
        (noise, mask | True, "every pixel is defect"),
        (np.full((4, 4), 0.3), mask, "all scores are equal"),
        (1 + noise * 1e-12, mask, "single precision"),
    ]:
        metrics = pixel_metrics([ScoredImage("a", scores, truth)], engine=Engine.streaming)
        assert (metrics.auroc, metrics.aupro, metrics.brackets) == (None, None, {})
        assert reason in str(metrics.reason)


def test_iou() -> None:
    mask = np.zeros((2, 3), bool)
    mask[0] = True
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.2, 0.1]], np.float32)
    for engine in Engine:
        images = [ScoredImage("a", scores, mask)]
        assert pixel_metrics(images, engine=engine, iou_threshold=0.5).iou == 2 / 4
        assert pixel_metrics(images, engine=engine).iou is None
        nothing = [ScoredImage("a", scores, mask & False)]
        assert pixel_metrics(nothing, engine=engine, iou_threshold=0.5).iou == 0
        assert pixel_metrics(nothing, engine=engine, iou_threshold=2.0).iou is None
