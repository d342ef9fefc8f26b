"""The one decision about a photo: verdict, words and action, made together, so that they cannot contradict each other.

What speaks for and against a defect:

- the score, at or above its threshold or not;
- EDDM's answer to "is there a defect?", where it was asked;
- the class that a language model gives each region, where there are class descriptions; it may be `good`.

The score decides. It is `unsure` where EDDM disagrees and the score is not far from the threshold, where every region
is called good, or where nothing in the map stands out although the score is high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from data.classes.policy import UNKNOWN, Action, Policy
from data.classes.texts import GOOD
from data.ddqa.compose import compose_description, with_article

SPOKEN = 3  # defects that the words name
SEVERITY = (Action.accept, Action.rework, Action.ask, Action.scrap)


class Verdict(StrEnum):
    """What is decided about a photo; `unreadable` where there was nothing to look at."""

    ok = "ok"
    defect = "defect"
    unsure = "unsure"
    unreadable = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for and against a defect.

    Attributes:
        score: Higher is worse.
        threshold: The photo is flagged at or above it.
        low: Below it, EDDM's "yes" is not believed.
        high: At or above it, EDDM's "no" is not believed.
        places: One of the nine region names for each region of the map, largest first.
        present: EDDM's answer; None where it was not asked or could not be understood.
        defect: EDDM's name of the defect.
        classes: Class of each region that was asked about, from the first on: a key of the class file, `good` or
            `unknown`. None where there are no class descriptions.
    """

    score: float
    threshold: float
    low: float
    high: float
    places: Sequence[str]
    present: bool | None = None
    defect: str | None = None
    classes: Sequence[str] | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether the score reaches its threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class Finding:
    """What is decided about one region.

    Attributes:
        index: Which region of the evidence.
        name: Its class or the name of its defect; None where nobody names it.
        action: What to do about it.
    """

    index: int
    name: str | None
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is decided about a photo.

    Attributes:
        verdict: Never `unreadable`.
        text: The description, in sentences.
        action: What happens to the piece: the most severe action of its regions.
        reason: Why.
        findings: The regions that belong to the verdict; none of a photo that is `ok`.
    """

    verdict: Verdict
    text: str
    action: Action
    reason: str
    findings: tuple[Finding, ...] = ()


def decide(evidence: Evidence, policy: Policy | None) -> Decision:
    """Decides about a photo.

    Without a policy nobody has said what a defect means for the piece, so a person is asked.

    Args:
        evidence: What speaks for and against a defect.
        policy: What the product's owner wants done with each class.
    """
    called = list(evidence.classes or [])
    doubt = _doubt(evidence, called)
    if doubt:
        return _unsure(evidence, doubt)
    if not evidence.is_flagged:
        reason = f"score {evidence.score:.3g} is below the threshold {evidence.threshold:.3g}"
        action = policy.decide(GOOD).action if policy is not None else Action.accept
        return Decision(
            verdict=Verdict.ok, text=compose_description(None, None, None), action=action, reason=_add(reason, policy)
        )
    findings = []
    for index in range(len(evidence.places)):
        name = _name(evidence, called, index)
        if name != GOOD:
            findings.append(Finding(index, name, _act(name, policy)))
    action = max((finding.action for finding in findings), key=SEVERITY.index)
    reason = f"score {evidence.score:.3g} reaches the threshold {evidence.threshold:.3g}"
    decisive = next(finding for finding in findings if finding.action is action)
    if policy is not None:
        reason = policy.decide(decisive.name or UNKNOWN).reason
    return Decision(
        verdict=Verdict.defect,
        text=_describe(evidence, findings),
        action=action,
        reason=reason,
        findings=tuple(findings),
    )


def _doubt(evidence: Evidence, called: Sequence[str]) -> str:
    """Why it cannot be decided; empty where it can."""
    if not math.isfinite(evidence.score):
        return "the model gives no score that is a number"
    score, threshold = f"{evidence.score:.3g}", f"{evidence.threshold:.3g}"
    if not evidence.is_flagged:
        if evidence.present and evidence.score >= evidence.low:
            what = with_article(evidence.defect or "defect")
            return f"the dialogue module names {what}, while the score {score} is below the threshold {threshold}"
        return ""
    if not evidence.places:
        return f"the score {score} reaches the threshold {threshold}, but no place stands out"
    if evidence.present is False and evidence.score < evidence.high:
        return f"the score {score} reaches the threshold {threshold}, but the dialogue module sees nothing wrong"
    if len(called) >= len(evidence.places) and all(name == GOOD for name in called):
        return f"the score {score} reaches the threshold {threshold}, but every marked place is called good"
    return ""


def _unsure(evidence: Evidence, doubt: str) -> Decision:
    named = evidence.defect if evidence.present else None
    findings = [Finding(index, named, Action.ask) for index in range(len(evidence.places))]
    place = f" The place in question: {evidence.places[0]}." if findings else ""
    return Decision(
        verdict=Verdict.unsure,
        text=f"The image shows an industrial product. It may be defective or sound: {doubt}.{place}",
        action=Action.ask,
        reason=doubt,
        findings=tuple(findings),
    )


def _name(evidence: Evidence, called: Sequence[str], index: int) -> str | None:
    """The class of a region where classes were asked for, else what EDDM names."""
    if evidence.classes is None:
        return evidence.defect if evidence.present else None
    return called[index] if index < len(called) else UNKNOWN


def _act(name: str | None, policy: Policy | None) -> Action:
    return policy.decide(name or UNKNOWN).action if policy is not None else Action.ask


def _add(reason: str, policy: Policy | None) -> str:
    return reason if policy is None else f"{reason}; {policy.decide(GOOD).reason}"


def _describe(evidence: Evidence, findings: Sequence[Finding]) -> str:
    """The product, then its first few defects and where they are, each kind and place once."""
    kinds = dict.fromkeys((_spoken(finding.name), evidence.places[finding.index]) for finding in findings)
    said = [f"{with_article(name)} at the {place}" for name, place in kinds][:SPOKEN]
    more = len(kinds) - len(said)
    said += [f"more at {more} other {'places' if more > 1 else 'place'}"] if more > 0 else []
    listed = " and ".join([", ".join(said[:-1]), said[-1]]) if len(said) > 1 else said[0]
    return f"The image shows an industrial product. There is {listed}."


def _spoken(name: str | None) -> str:
    return "defect" if name is None else "defect of unknown class" if name == UNKNOWN else name.replace("_", " ")
