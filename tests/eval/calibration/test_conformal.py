import numpy as np
import pytest

from data.errors import UserError
from eval.calibration.conformal import (
    expected_alarms,
    images_needed,
    join_folds,
    split_folds,
    threshold_at,
)


@pytest.mark.parametrize(("rate", "images"), [(0.05, 19), (0.02, 49), (0.1, 9), (0.5, 1), (0.01, 99), (0.03, 33)])
def test_the_fewest_images_a_rate_needs_support_it_and_one_less_does_not(rate: float, images: int) -> None:
    assert images_needed(rate) == images
    scores = np.arange(images, dtype=float)
    assert threshold_at(scores, rate) > images - 1  # the largest sound score passes
    with pytest.raises(UserError, match=f"at least {images} sound images .* there are {images - 1}"):
        threshold_at(scores[:-1], rate)


def test_a_refusal_names_a_rate_that_the_images_do_support() -> None:
    with pytest.raises(UserError, match=r"choose false_alarms=0\.077"):
        threshold_at(np.arange(12), 0.02)
    assert np.isfinite(threshold_at(np.arange(12), 0.077))


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5])
def test_a_rate_is_between_zero_and_one(rate: float) -> None:
    with pytest.raises(UserError, match=r"must be between 0 and 1, for example 0\.02"):
        images_needed(rate)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="1 of 20 scores are not finite"):
        threshold_at([*range(19), float("nan")], 0.05)


def test_fresh_sound_images_raise_alarms_at_the_rate_and_within_the_interval() -> None:
    draws = np.random.default_rng(0)
    shares, inside = [], 0
    for _ in range(400):
        threshold = threshold_at(draws.normal(size=60), 0.05)
        shares.append(float((draws.normal(size=200) >= threshold).mean()))
        low, high = expected_alarms(60, 0.05, 200)
        inside += low <= shares[-1] <= high
    assert 0.040 < np.mean(shares) < 0.055  # ⌊0.05 · 61⌋ / 61 = 0.049 is promised
    assert 0.93 <= inside / 400 <= 0.99
    assert expected_alarms(2000, 0.05, 200)[1] < expected_alarms(60, 0.05, 200)[1]


def test_equal_scores_raise_no_more_alarms_than_the_rate() -> None:
    scores = [0.0] * 30 + [1.0] * 30
    assert threshold_at(scores, 0.05) > 1


def test_folds_share_out_all_images_once() -> None:
    folds = split_folds(23, 5, seed=1)
    assert sorted(index for fold in folds for index in fold) == list(range(23))
    assert {len(fold) for fold in folds} == {4, 5}
    assert join_folds(folds, [[10.0 * index for index in fold] for fold in folds]) == [10.0 * i for i in range(23)]
    with pytest.raises(UserError, match="at least two"):
        split_folds(1, 5, seed=1)
