"""Verdict, words and action over every combination of what can speak for and against a defect."""

from __future__ import annotations

import itertools
import math

import pytest

from data.classes.policy import Action, Policy
from data.ddqa.compose import read_presence
from eval.inspection.decision import SEVERITY, Decision, Evidence, Verdict, decide

SCORES = [0.0, 0.2, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0, math.nan]
PLACES = [[], ["left"], ["top left", "center"], ["left", "left", "bottom", "right", "top"]]
CLASSES = ["good", "unknown", "scratch", "bend"]
POLICIES = [
    None,
    Policy("washer", {"good": Action.accept, "unknown": Action.ask, "scratch": Action.ask, "bend": Action.scrap}, {}),
    Policy("washer", {"good": Action.ask, "unknown": Action.scrap, "scratch": Action.accept, "bend": Action.ask}, {}),
]


def combinations() -> list[tuple[Evidence, Policy | None]]:
    """All of score, regions, EDDM's answer and name, classes of the first two regions, and policy."""
    found = []
    for score, places, present, defect in itertools.product(SCORES, PLACES, (True, False, None), (None, "dent")):
        asked = min(len(places), 2) if score >= 0.5 else 0
        named = [None, *(list(names) for names in itertools.product(CLASSES, repeat=asked))]
        for classes, policy in itertools.product(named, POLICIES):
            evidence = Evidence(
                score=score,
                threshold=0.5,
                low=0.25,
                high=0.75,
                places=places,
                present=present,
                defect=defect,
                classes=classes,
            )
            found.append((evidence, policy))
    return found


CASES = combinations()
DECIDED = [(evidence, policy, decide(evidence, policy)) for evidence, policy in CASES]


def check_words(evidence: Evidence, decision: Decision) -> None:
    """The words say what the verdict says, about the same regions."""
    expected = {Verdict.ok: False, Verdict.defect: True, Verdict.unsure: None}[decision.verdict]
    assert read_presence(decision.text) is expected, decision.text
    if decision.verdict is Verdict.defect:
        kinds = list(dict.fromkeys((f.name, evidence.places[f.index]) for f in decision.findings))
        for name, place in kinds[:3]:
            assert decision.text.count(f" at the {place}") == [other for _, other in kinds[:3]].count(place)
            if name and name != "unknown":
                assert f"{name} at the {place}" in decision.text
        assert (f"more at {len(kinds) - 3} other place" in decision.text) == (len(kinds) > 3)


def test_there_are_all_verdicts_among_thousands_of_combinations() -> None:
    assert len(CASES) > 4000
    assert {decision.verdict for _, _, decision in DECIDED} == {Verdict.ok, Verdict.defect, Verdict.unsure}


def test_words_say_what_the_verdict_says() -> None:
    for evidence, _, decision in DECIDED:
        check_words(evidence, decision)
        assert decision.reason and decision.text


def test_only_a_defect_or_a_doubt_has_regions_and_a_defect_has_some() -> None:
    for evidence, _, decision in DECIDED:
        assert (decision.verdict is Verdict.defect) <= bool(decision.findings)
        assert (decision.verdict is Verdict.ok) <= (not decision.findings)
        assert all(finding.index < len(evidence.places) for finding in decision.findings)


def test_nothing_is_ok_at_or_above_the_threshold_nor_a_defect_below_it() -> None:
    for evidence, _, decision in DECIDED:
        if evidence.score >= evidence.threshold:
            assert decision.verdict is not Verdict.ok
        else:
            assert decision.verdict is not Verdict.defect
        assert math.isnan(evidence.score) <= (decision.verdict is Verdict.unsure)


def test_a_person_is_asked_whenever_it_is_open() -> None:
    for _, _, decision in DECIDED:
        if decision.verdict is Verdict.unsure:
            assert decision.action is Action.ask
            assert all(finding.action is Action.ask for finding in decision.findings)


def test_the_action_is_the_policys_most_severe_one_and_no_defect_passes_without_a_policy() -> None:
    for _, policy, decision in DECIDED:
        if decision.verdict is Verdict.ok:
            assert decision.action is (policy.actions["good"] if policy else Action.accept)
        if decision.verdict is Verdict.defect:
            wanted = [policy.decide(f.name or "unknown").action if policy else Action.ask for f in decision.findings]
            assert [finding.action for finding in decision.findings] == wanted
            assert decision.action is max(wanted, key=SEVERITY.index)
            assert policy or decision.action is Action.ask


def test_a_region_that_is_called_good_is_no_defect() -> None:
    for evidence, _, decision in DECIDED:
        if decision.verdict is Verdict.defect and evidence.classes:
            good = {index for index, name in enumerate(evidence.classes) if name == "good"}
            assert good.isdisjoint({finding.index for finding in decision.findings})


@pytest.mark.parametrize(
    ("score", "present", "verdict"),
    [
        (0.6, False, Verdict.unsure),  # near the threshold EDDM may object
        (0.8, False, Verdict.defect),  # far from it, it is outweighed
        (0.3, True, Verdict.unsure),
        (0.2, True, Verdict.ok),
        (0.5, None, Verdict.defect),
        (0.49, None, Verdict.ok),
    ],
)
def test_eddm_may_object_near_the_threshold(score: float, present: bool | None, verdict: Verdict) -> None:
    evidence = Evidence(score=score, threshold=0.5, low=0.25, high=0.75, places=["left"], present=present)
    assert decide(evidence, None).verdict is verdict


def test_the_words_of_a_defect_and_of_a_doubt() -> None:
    flagged = Evidence(
        score=0.9, threshold=0.5, low=0.25, high=0.75, places=["left", "top"], classes=["scratch", "unknown"]
    )
    assert decide(flagged, None).text == (
        "The image shows an industrial product. "
        "There is a scratch at the left and a defect of unknown class at the top."
    )
    doubtful = Evidence(score=0.6, threshold=0.5, low=0.25, high=0.75, places=["left"], present=False)
    assert decide(doubtful, None).text == (
        "The image shows an industrial product. It may be defective or sound: the score 0.6 reaches the threshold 0.5, "
        "but the dialogue module sees nothing wrong. The place in question: left."
    )
