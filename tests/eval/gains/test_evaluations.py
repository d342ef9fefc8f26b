from pathlib import Path
from typing import Any

import pytest

from eval.gains.bootstrap import BootstrapConfig
from eval.gains.evaluations import Evaluation, compare_evaluations

METRICS = ("pixel_ap", "image_auroc")
CONFIG = BootstrapConfig(resamples=0)


def evaluation(store: Path, value: float, image_score: str = "model", **settings: Any) -> Evaluation:
    told = {"aupro_limit": 0.3, "resolution": "native", "score_fraction": 0.005, **settings}
    figures = {"pixel_ap": value, "image_auroc": value}
    facts = {"mean": figures, "categories": {"nut": figures}, "image_score": image_score, "config": told}
    return Evaluation(facts, store)


@pytest.mark.parametrize("settings", [{"resolution": "256"}, {"smoothing": 4.0}, {"mask_rule": "bilinear"}])
def test_pixels_measured_otherwise_have_no_difference(tmp_path: Path, settings: dict[str, Any]) -> None:
    name = next(iter(settings))
    plain = {"smoothing": 0.0, "mask_rule": "nearest"}
    gains = compare_evaluations(
        evaluation(tmp_path, 50.0, **plain), evaluation(tmp_path, 40.0, **plain | settings), METRICS, CONFIG
    )
    assert gains.missing == f"they were measured with another {name}" and not gains.categories
    assert [gains.mean[metric].delta for metric in METRICS] == [None, None]


def test_another_image_score_takes_away_the_difference_of_image_figures_alone(tmp_path: Path) -> None:
    left = evaluation(tmp_path, 50.0)
    assert compare_evaluations(left, evaluation(tmp_path, 40.0), METRICS, CONFIG).mean["image_auroc"].delta == 10.0
    gains = compare_evaluations(left, evaluation(tmp_path, 40.0, "maximum"), METRICS, CONFIG)
    for found in (gains.mean, gains.categories["nut"]):
        assert (found["pixel_ap"].delta, found["image_auroc"].delta) == (10.0, None)
    tops = [evaluation(tmp_path, value, "top_mean", score_fraction=value / 100) for value in (1.0, 2.0)]
    assert compare_evaluations(tops[0], tops[1], METRICS, CONFIG).mean["image_auroc"].delta is None


def test_what_an_older_version_does_not_state_is_not_held_against_it(tmp_path: Path) -> None:
    gains = compare_evaluations(
        evaluation(tmp_path, 50.0), evaluation(tmp_path, 40.0, mask_rule="nearest", crop=None), METRICS, CONFIG
    )
    assert gains.mean["pixel_ap"].delta == 10.0
