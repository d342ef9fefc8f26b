import numpy as np
import pytest

from eval.calibration.probability import calibration_error, fit_scaling


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true probability of a defect is logistic with slope 2, where both kinds are as frequent."""
    generator = np.random.default_rng(seed)
    return generator.normal(-1, 1, count), generator.normal(1, 1, count)


@pytest.mark.parametrize(("count", "method"), [(40, "platt"), (1000, "isotonic")])
def test_probabilities_rise_and_are_those_of_the_data(count: int, method: str) -> None:
    scaling = fit_scaling(*draw(count))
    assert scaling is not None and scaling.method == method
    values = [scaling.probability(score) for score in np.linspace(-6, 6, 200)]
    assert all(0 < value < 1 for value in values) and values == sorted(values)
    assert abs(scaling.probability(0) - 0.5) < 0.15 and scaling.probability(2) > 0.9
    sound, defective = draw(5000, seed=1)
    stated = [scaling.probability(score) for score in (*sound, *defective)]
    error = calibration_error(stated, np.r_[np.zeros(5000), np.ones(5000)])
    assert error < 0.08 and abs(error - scaling.error) < 0.1


def test_too_few_images_of_a_kind_give_no_probability() -> None:
    assert fit_scaling(np.arange(50), [100, 101, 102, 103]) is None


def test_defects_that_score_lower_get_no_falling_curve() -> None:
    scaling = fit_scaling(np.arange(10, 30), np.arange(10))
    assert scaling is not None and scaling.probability(0) == pytest.approx(scaling.probability(30))


def test_kinds_that_do_not_overlap_stay_finite() -> None:
    scaling = fit_scaling(np.arange(20), np.arange(1000, 1020))
    assert scaling is not None
    assert scaling.probability(0) < 0.1 and scaling.probability(1000) > 0.9


def test_the_error_is_the_gap_between_what_is_said_and_what_happens() -> None:
    assert calibration_error([0.95] * 10, [1] * 5 + [0] * 5) == pytest.approx(0.45)
    assert calibration_error([0.5] * 10, [1] * 5 + [0] * 5) == pytest.approx(0)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0
