from typing import Any

import pytest

from scripts.benchmarks.learning import GOALS, read_figures, report


def results(**changes: float) -> dict[str, Any]:
    means = {
        name: {"mean": {"pixel_auroc": 98.0, "pixel_f1_max": f1, "image_auroc": image}}
        for name, f1, image in (
            ("with_eddm", 60.0, 95.0),
            ("without_eddm", 55.0, 85.0),
            ("oracle_decoys", 60.0, None),
            ("shuffled_decoys", 40.0, None),
        )
    }
    return {"eddm": {"AD": 93.0, "RDL": 93.0, "DC": 95.0, "DFM_iou": 26.0, **changes}, "segmentation": means}


def test_gains_are_differences_of_the_means() -> None:
    figures = read_figures(results())
    assert figures["EDDM's gain in F1-max"] == 5 and figures["EDDM's gain in image AUROC"] == 10
    assert figures["right over shuffled words, F1-max"] == 20


def test_a_missed_goal_is_printed_with_by_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    calibrated = {"false alarms at 5 %": 5.0, "defects found at 5 %": 85.0}
    good = {**read_figures(results()), **calibrated}
    assert set(good) == set(GOALS) and report([good], [0])
    poor = {**read_figures(results(AD=85.0)), **calibrated, "false alarms at 5 %": 13.0}
    assert not report([good, poor], [0, 1])
    said = capsys.readouterr().out
    assert "| AD balanced accuracy | 93.0 | 85.0 | 89.0 ± 4.0 | ≥ 92: missed by 3.0 |" in said
    assert "| false alarms at 5 % | 5.0 | 13.0 | 9.0 ± 4.0 | ≤ 8: missed by 1.0 |" in said
