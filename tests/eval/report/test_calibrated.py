"""Rates of false alarms in the report, worked out by hand and against what the rates promise."""

import numpy as np
import pytest

from eval.calibration.make import Scores, make_calibration
from eval.report.calibrated import calibrated_points
from eval.report.cases import Case
from tests.eval.report.test_cases import make_case


def product(name: str, sound: np.ndarray, defective: np.ndarray) -> list[Case]:
    cases = [make_case(f"{name} n{index}", name, None, score=float(score)) for index, score in enumerate(sound)]
    return cases + [make_case(f"{name} d{index}", name, 0.5, score=float(s)) for index, s in enumerate(defective)]


def test_the_runs_calibration_by_hand() -> None:
    sound = Scores([index / 100 for index in range(19)], [0.0] * 19)
    calibration = make_calibration(sound, [], rate=0.05, model="m")
    cases = product("a", np.array([0.1, 0.18, 0.19, 0.5]), np.array([0.17, 0.19, 0.9]))
    run, own = calibrated_points(cases, calibration)
    assert (run.rate, run.normals, run.alarms, run.normal) == (5, 19, 50, 4)
    assert run.found == pytest.approx(200 / 3)
    assert own.normals == 2


def test_a_products_own_images_keep_the_rate_that_they_support() -> None:
    random = np.random.default_rng(0)
    rates, alarms, found = set(), [], []
    for seed in range(60):
        cases = product("low", random.normal(0, 1, 24), random.normal(6, 1, 10))
        cases += product("high", random.normal(50, 1, 24), random.normal(56, 1, 10))
        (point,) = calibrated_points(cases, None, seed)
        rates.add(point.rate)
        alarms.append(point.alarms)
        found.append(point.found)
        assert (point.normal, point.defective, point.normals) == (48, 20, 12)
    assert rates == {7.7}
    assert np.mean(alarms) == pytest.approx(100 / 13, abs=2)
    assert np.mean(found) > 95


def test_no_image_is_judged_by_a_threshold_that_it_set() -> None:
    cases = product("a", np.arange(2.0), np.array([9.0]))
    (point,) = calibrated_points(cases, None)
    assert point.alarms == 50  # the higher one is above the lower one's threshold; neither would reach its own


def test_without_sound_images_there_is_nothing_to_say() -> None:
    assert calibrated_points(product("a", np.array([1.0]), np.array([2.0])), None) == []
    assert calibrated_points([], None) == []
