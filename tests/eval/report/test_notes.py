from __future__ import annotations

from typing import Any

from eval.gains.gain import Gain
from eval.report.notes import find_missing, headline, limits


def make_facts(**changes: Any) -> dict[str, Any]:
    summary = {
        "zero_shot": "verified",
        "skipped": [],
        "undefined": {},
        "categories": {"tile": {}, "pill": {}},
        "images": {"normal": 10},
        "config": {"subset": ""},
    }
    cells = {
        metric: {"with": 97.0, "without": 95.0, **Gain(2.0).as_json()} for metric in ("pixel_auroc", "pixel_f1_max")
    }
    return {
        "evaluations": {
            name: dict(summary) for name in ("with_eddm", "without_eddm", "oracle_decoys", "shuffled_decoys")
        },
        "segmentation": {"mean": cells, "categories": {"tile": {}, "pill": {}}, "images": {"total": 30}},
        "eddm": {"AD": 90},
        "ddqa": {},
        "stages": [{"stage": "a"}],
        "curves": {"EDDM, adapter": {}, "MDLM, base": {}},
        "data": {},
        "gallery": {"missing": None, "descriptions": None},
        "configs": {"EDDM": {"seed": 0}, "MDLM, eddm": {"preset": "paper"}},
        "operating_point": {"normal": 200},
        "calibration": "",
        "calibration_problem": "",
        "gains": {},
        "report_config": {"contour": {"threshold": 0.5}, "bootstrap": {"level": 0.9}},
        **changes,
    }


def test_headline_tells_gain_and_loss() -> None:
    facts = make_facts()
    assert "never saw in training" in headline(facts) and "2.0 points of F1-max more than without" in headline(facts)
    facts["segmentation"]["mean"]["pixel_f1_max"]["delta"] = -3.0
    assert "3.0 points of F1-max less" in headline(facts)
    facts["evaluations"]["with_eddm"]["zero_shot"] = "off"
    assert "never saw" not in headline(facts)


def test_headline_claims_no_gain_that_the_images_do_not_bear_out() -> None:
    facts = make_facts()
    cell = facts["segmentation"]["mean"]["pixel_f1_max"]
    cell |= Gain(2.0, -0.5, 4.5).as_json()
    told = headline(facts)
    assert "not distinguishable from what it is without" in told and "(−0.5 to +4.5, 90 % interval over images)" in told
    assert "points" not in told
    cell |= Gain(2.0, 0.5, 3.5).as_json()
    assert "2.0 points of F1-max more than without the descriptions of EDDM (+0.5 to +3.5, 90 %" in headline(facts)


def test_what_has_no_interval_and_a_calibration_of_another_model_are_named() -> None:
    gains = {"eddm": {"left": "with_eddm", "right": "without_eddm", "missing": "no counts"}}
    found = find_missing(make_facts(gains=gains, calibration_problem="It is of another model."))
    assert found == [
        "Not used: the run's calibration. It is of another model.",
        "No intervals for with_eddm minus without_eddm: no counts.",
    ]
    assert any("what another training" in text for text in limits(make_facts(gains=gains)))


def test_a_complete_run_misses_nothing() -> None:
    assert find_missing(make_facts()) == []


def test_undefined_metrics_are_gathered() -> None:
    facts = make_facts()
    facts["evaluations"]["with_eddm"]["undefined"] = {
        "tile": {"image": "no normal image"},
        "pill": {"image": "no normal image"},
    }
    facts["evaluations"]["without_eddm"]["undefined"] = {"tile": {"pixel": "no defect pixel"}}
    assert find_missing(facts) == [
        "with_eddm: no image metrics for any category (no normal image).",
        "without_eddm: no pixel metrics for tile (no defect pixel).",
    ]


def test_a_subset_without_normal_images_lacks_image_metrics_by_design() -> None:
    facts = make_facts()
    decoys = facts["evaluations"]["oracle_decoys"]
    decoys |= {"undefined": {"tile": {"image": "no normal image"}}, "images": {"normal": 0}}
    assert len(find_missing(facts)) == 1
    decoys["config"] = {"subset": "decoys"}
    assert find_missing(facts) == []


def test_skipped_images_are_counted_with_their_reason() -> None:
    facts = make_facts()
    facts["evaluations"]["with_eddm"]["skipped"] = [
        {"id": "a", "reason": "empty mask"},
        {"id": "b", "reason": "empty mask"},
    ]
    assert find_missing(facts) == ["with_eddm: 2 images left out (empty mask)."]


def test_limits_depend_on_the_run() -> None:
    assert not any("decoy" in note or "tiny" in note for note in limits(make_facts()))
    facts = make_facts(operating_point={"normal": 20})
    del facts["evaluations"]["oracle_decoys"]
    facts["configs"]["MDLM, fixed"] = {"preset": "tiny"}
    notes = " ".join(limits(facts))
    assert "decoy check was not run" in notes and "tiny" in notes and "5.0 points" in notes


def test_limits_say_which_threshold_it_is_and_what_rate_it_stands_for() -> None:
    plain = " ".join(limits(make_facts()))
    assert "stand at 0.5 of the map, which promises no rate of false alarms. scripts.calibrate takes one" in plain
    told = " ".join(limits(make_facts(calibration="Threshold 0.9: 5 % false alarms.")))
    assert "the run is calibrated. Threshold 0.9: 5 % false alarms." in told
