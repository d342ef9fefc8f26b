"""Intervals of a difference: what they cover, what pairing does, and when there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.errors import UserError
from eval.gains.bootstrap import BootstrapConfig, Side, compare_sides, draw_weights
from eval.gains.gain import UNCLEAR
from eval.gains.tally import Counted, Tally, stack_counts, tally_figures

CONFIG = BootstrapConfig(resamples=300)
METRIC = "image_auroc"


def make_side(categories: dict[str, np.ndarray], *, reverse: bool = False) -> Side:
    """Image scores alone; the second half of each category is defective."""
    tallies: dict[str, Tally] = {}
    for name, scores in categories.items():
        count = len(scores)
        order = range(count)[::-1] if reverse else range(count)
        tallies[name] = stack_counts(
            [f"{name}/{index:03d}" for index in order],
            [Counted.nothing() for _ in order],
            np.empty(0),
            [float(scores[index]) for index in order],
            [index >= count // 2 for index in order],
        )
    once = {name: tally_figures(tally, np.ones((1, len(tally.ids))), 0.3) for name, tally in tallies.items()}
    figures = {name: {METRIC: float(found[METRIC][0])} for name, found in once.items()}
    mean = {METRIC: float(np.mean([found[METRIC] for found in figures.values()]))}
    return Side(mean=mean, categories=figures, tallies=tallies, limit=0.3)


def draw(random: np.random.Generator, count: int, apart: float) -> np.ndarray:
    return random.normal(size=count) + apart * (np.arange(count) >= count // 2)


def test_a_side_against_itself_is_not_distinguishable() -> None:
    scores = {"a": draw(np.random.default_rng(0), 40, 1.0), "b": draw(np.random.default_rng(1), 20, 0.5)}
    gains = compare_sides(make_side(scores), make_side(scores, reverse=True), (METRIC,), CONFIG)
    assert gains.missing == ""
    for gain in (gains.mean[METRIC], gains.categories["a"][METRIC]):
        assert (gain.delta, gain.low, gain.high, gain.verdict) == (0, 0, 0, UNCLEAR)


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    true = 100 * 0.5 * (1 + np.array([0.6826895, 0.2763264])) * 1.0  # Φ(1), Φ(0.3535): AUROC at distances √2 and 0.5
    covered = 0
    for seed in range(60):
        hard = random.normal(size=80)
        sides = [
            make_side({"a": 0.6 * hard + 0.8 * random.normal(size=80) + apart * (np.arange(80) >= 40)})
            for apart in (2**0.5, 0.5)
        ]
        gain = compare_sides(*sides, (METRIC,), replace(CONFIG, seed=seed)).mean[METRIC]
        assert gain.low is not None and gain.high is not None and gain.low < gain.delta < gain.high
        covered += gain.low <= true[0] - true[1] <= gain.high
    assert covered >= 51  # of 60; 57 are to be expected


def test_what_is_hard_for_both_sides_cancels() -> None:
    random = np.random.default_rng(3)
    hard = draw(random, 60, 1.0)
    better = hard + 0.3 * (np.arange(60) >= 30) + 0.02 * random.normal(size=60)
    gain = compare_sides(make_side({"a": better}), make_side({"a": hard}), (METRIC,), CONFIG).mean[METRIC]
    alone = compare_sides(make_side({"a": better}), make_side({"a": hard[::-1] * 0 + hard}), (METRIC,), CONFIG)
    assert gain.verdict == "gain" and alone.mean[METRIC] == gain
    strangers = draw(random, 60, 1.0)
    apart = compare_sides(make_side({"a": better}), make_side({"a": strangers}), (METRIC,), CONFIG).mean[METRIC]
    assert apart.high - apart.low > 2 * (gain.high - gain.low)
    loss = compare_sides(make_side({"a": hard}), make_side({"a": better}), (METRIC,), CONFIG).mean[METRIC]
    assert loss.verdict == "loss" and loss.delta == pytest.approx(-gain.delta)


def test_every_draw_keeps_as_many_sound_and_defective_images() -> None:
    defective = np.array([True, False, False, True, False, True, True])
    weights = draw_weights(defective, 50, np.random.default_rng(0))
    assert weights.shape == (51, 7) and (weights[0] == 1).all()
    assert (weights[:, defective].sum(1) == 4).all() and (weights[:, ~defective].sum(1) == 3).all()
    assert weights[1:].max() > 1 and (weights[1:] == 0).any()


def test_draws_follow_the_seed_alone() -> None:
    random = np.random.default_rng(0)
    sides = [make_side({name: draw(random, 30, 1.0) for name in "ab"}) for _ in range(2)]
    first = compare_sides(*sides, (METRIC,), CONFIG)
    assert compare_sides(*sides, (METRIC,), CONFIG) == first
    assert compare_sides(*sides, (METRIC,), replace(CONFIG, seed=1)).mean != first.mean


def test_without_counts_of_the_same_images_there_is_a_difference_and_a_reason() -> None:
    random = np.random.default_rng(0)
    side, other = (make_side({"a": draw(random, 30, 1.0)}) for _ in range(2))
    fewer = make_side({"a": draw(random, 28, 1.0)})
    for left, config, reason in (
        (replace(side, tallies={}), CONFIG, "no counts per image of a: evaluate again"),
        (fewer, CONFIG, "the two sides have evaluated other images of a"),
        (replace(side, categories={**side.categories, "b": {}}), CONFIG, "only one side has evaluated b"),
        (side, replace(CONFIG, resamples=0), "resamples=0"),
    ):
        gains = compare_sides(left, other, (METRIC,), config)
        assert gains.missing == reason
        gain = gains.mean[METRIC]
        assert gain.delta == pytest.approx(left.mean[METRIC] - other.mean[METRIC])
        assert (gain.low, gain.high, gain.verdict) == (None, None, "")


def test_a_metric_without_a_value_has_no_difference() -> None:
    side = make_side({"a": draw(np.random.default_rng(0), 30, 1.0)})
    assert compare_sides(side, side, ("pixel_ap",), CONFIG).mean["pixel_ap"].delta is None


@pytest.mark.parametrize("change", [{"resamples": -1}, {"level": 1.0}, {"level": 0.0}])
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"resamples=.*level="):
        replace(CONFIG, **change).check()
