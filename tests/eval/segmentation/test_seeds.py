"""Figures over seeds, against sums that can be done by hand."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from eval.segmentation.category_scores import METRICS
from eval.segmentation.config import ScoringConfig, config_facts
from eval.segmentation.seeds import format_spread, log_seeds, summarise_seeds, write_seeds


def summary(value: float, image_ap: float | None = 50.0) -> dict[str, Any]:
    figures = dict.fromkeys(METRICS, value) | {"image_ap": image_ap}
    return {
        "name": "patchcore",
        "setting": "A memory.",
        "draw": "By one seed.",
        "convention": "ours",
        "resolution": "native",
        "engine": "exact",
        "image_score": "model",
        "vanished_masks": [],
        "config": config_facts(ScoringConfig()),
        "mean": figures,
        "categories": {"nut": figures},
    }


def test_mean_and_deviation_of_a_sample() -> None:
    result = summarise_seeds({0: summary(80.0), 1: summary(90.0), 5: summary(94.0)}, "By three seeds.")
    assert result["mean"]["pixel_auroc"] == pytest.approx(88)
    assert result["std"]["pixel_auroc"] == pytest.approx(((8**2 + 2**2 + 6**2) / 2) ** 0.5)
    assert result["categories_std"]["nut"]["image_ap"] == 0
    assert result["setting"] == "A memory. By three seeds." and list(result["seeds"]) == ["0", "1", "5"]
    assert result["seeds"]["5"]["mean"]["pixel_ap"] == 94


def test_what_a_seed_lacks_has_neither() -> None:
    result = summarise_seeds({0: summary(80.0, None), 1: summary(90.0)}, "")
    assert result["mean"]["image_ap"] is None and result["std"]["image_ap"] is None
    alone = summarise_seeds({0: summary(80.0)}, "")
    assert alone["mean"]["pixel_ap"] == 80 and alone["std"]["pixel_ap"] is None


def test_how_it_is_written() -> None:
    assert format_spread(85.713, 1.2) == "85.71 ± 1.20"
    assert format_spread(85.713, None) == "85.71" and format_spread(None, None) == "–"


def test_files_and_table_hold_the_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    result = summarise_seeds({0: summary(80.0), 1: summary(90.0)}, "By two seeds.")
    log_seeds(result)
    write_seeds(tmp_path, result, {0: ["nut/a"], 1: ["nut/b"]})
    assert json.loads((tmp_path / "results.json").read_text()) == result
    page = (tmp_path / "report.html").read_text()
    assert "85.00 ± 7.07" in page and "85.00 ± 7.07" in caplog.text
    assert 'href="seed_1/report.html"' in page and "Seed 1 drew nut/b." in page and "Convention: ours." in page
