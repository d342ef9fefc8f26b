from dataclasses import asdict

import numpy as np
import pytest

from data.errors import UserError
from models.experts.expert import Detection, Gate
from models.experts.gate import GateConfig, GateMethod, best_threshold, f1_max_gate, quantile_gate, thin_map


def test_quantile() -> None:
    scores = [float(value) for value in range(100)]
    maps = [np.full((4, 4), value, np.float32) for value in range(100)]
    gate = quantile_gate(scores, maps, GateConfig(image_quantile=0.9, pixel_quantile=1.0))
    assert sum(score < gate.score for score in scores) == 91  # the quantile itself passes
    assert gate.pixel == pytest.approx(99)
    assert not any((anomaly_map >= gate.pixel).any() for anomaly_map in maps)


def test_one_held_out_image_passes() -> None:
    gate = quantile_gate([3.0], [np.zeros((2, 2), np.float32)], GateConfig())
    assert Detection(np.zeros((2, 2), np.float32), 3.0, gate).is_normal
    assert not Detection(np.zeros((2, 2), np.float32), 3.001, gate).is_normal


def test_defaults() -> None:
    assert asdict(GateConfig()) == {
        "method": GateMethod.quantile,
        "held_out": 0.2,
        "image_quantile": 0.95,
        "pixel_quantile": 0.999,
    }


def test_large_maps_are_thinned_and_small_ones_are_not() -> None:
    for side, step in ((64, 1), (256, 1), (511, 1), (512, 2), (800, 3)):
        pixels = np.arange(side * side).reshape(side, side)
        assert np.array_equal(thin_map(pixels), pixels[::step, ::step])


def test_nothing_held_out() -> None:
    with pytest.raises(UserError, match="No held-out"):
        quantile_gate([], [], GateConfig())


@pytest.mark.parametrize(
    "values", [{"held_out": 0.0}, {"held_out": 1.0}, {"image_quantile": 0.0}, {"pixel_quantile": 1.1}]
)
def test_ranges(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        GateConfig(**values)


def test_best_threshold_against_trying_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.integers(0, 12, 40).astype(float)  # with ties
        positive = rng.random(40) < values / 15
        positive[0] = True

        def f1(threshold: float, values: np.ndarray = values, positive: np.ndarray = positive) -> float:
            called = values >= threshold
            return 2 * (called & positive).sum() / (called.sum() + positive.sum())

        assert f1(best_threshold(values, positive)) == max(f1(value) for value in values)


def test_best_threshold_may_be_the_least_value() -> None:
    assert best_threshold(np.array([1.0, 2.0]), np.array([True, False])) == 1  # F1 2 / 3 at 1, 0 at 2


def test_best_threshold_is_the_highest_among_equals() -> None:
    values, positive = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, False, True])
    assert best_threshold(values, positive) == 4  # F1 2 * 1 / (1 + 2) at 4, 2 * 2 / (4 + 2) at 1


def test_f1_max() -> None:
    maps = [np.array([[0, 1], [2, 8]], np.float32), np.array([[0, 1], [1, 0]], np.float32)]
    masks = [np.array([[False, False], [False, True]]), np.zeros((2, 2), bool)]
    assert f1_max_gate([5.0, 2.0], [True, False], maps, masks) == Gate(5.0, 8.0)


@pytest.mark.parametrize("anomalous", [[True, True], [False, False]])
def test_f1_max_needs_both(anomalous: list[bool]) -> None:
    with pytest.raises(UserError, match=GateMethod.f1_max.value):
        f1_max_gate([1.0, 2.0], anomalous, [np.zeros((1, 1))] * 2, [np.zeros((1, 1), bool)] * 2)
