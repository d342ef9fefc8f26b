from dataclasses import replace

import numpy as np
import pytest

from data.errors import UserError
from eval.assistant.assistant import Assistant, Seen
from eval.assistant.judging import make_judgement
from eval.assistant.uploads import take_uploads
from eval.inspection.decision import Verdict
from eval.judgements.judgement import Finding, Judgement
from tests.eval.assistant.redness import MakeAssistant, WritePhoto

LARGE, SMALL = (240, slice(10, 20), slice(30, 50)), (250, slice(30, 34), slice(5, 9))


@pytest.fixture
def assistant(make_assistant: MakeAssistant) -> Assistant:
    return make_assistant()


@pytest.fixture
def seen(assistant: Assistant, write_photo: WritePhoto) -> Seen:
    return next(assistant.inspect(take_uploads([write_photo("a.png", LARGE, SMALL)], assistant.bounds).uploads))[0]


def judge(
    assistant: Assistant, seen: Seen, finding: Finding, threshold: float = 0.5, **values: object
) -> tuple[Judgement, np.ndarray | None]:
    decided = assistant.decide(seen, threshold)
    return make_judgement(seen, decided, finding, model="m", user="ann", **values)  # type: ignore[arg-type]


def test_an_accepted_verdict_keeps_regions_and_mask(assistant: Assistant, seen: Seen) -> None:
    judgement, mask = judge(assistant, seen, Finding.accepted)
    assert (judgement.photo, judgement.image_hash, judgement.verdict) == ("a.png", seen.upload.image_hash, "defect")
    assert [(one.box, one.area, one.name, one.stands) for one in judgement.regions] == [
        ((30, 10, 50, 20), 200, "", True),
        ((5, 30, 9, 34), 16, "", True),
    ]
    assert mask is not None and mask.sum() == 216
    judgement, mask = judge(assistant, seen, Finding.accepted, threshold=0.99)
    assert (judgement.verdict, judgement.regions, mask) == ("ok", (), None)


def test_a_wrong_class_names_the_chosen_region_or_all(assistant: Assistant, seen: Seen) -> None:
    names = [one.name for one in judge(assistant, seen, Finding.wrong_class, name=" deep  hole ")[0].regions]
    assert names == ["deep hole", "deep hole"]
    names = [one.name for one in judge(assistant, seen, Finding.wrong_class, name="dent", chosen=1)[0].regions]
    assert names == ["", "dent"]


def test_a_fine_product_has_no_mask_and_no_region_that_stands(assistant: Assistant, seen: Seen) -> None:
    judgement, mask = judge(assistant, seen, Finding.fine)
    assert mask is None and [one.stands for one in judgement.regions] == [False, False]


def test_what_was_drawn_counts_with_its_name(assistant: Assistant, seen: Seen) -> None:
    drawn = np.zeros((40, 60), bool)
    drawn[2:6, 2:10] = True
    judgement, mask = judge(assistant, seen, Finding.redrawn, name="crack", drawn=drawn)
    assert mask is drawn and [(one.box, one.name) for one in judgement.regions] == [((2, 2, 10, 6), "crack")]


@pytest.mark.parametrize(
    ("finding", "threshold", "values", "message"),
    [
        (Finding.wrong_class, 0.5, {}, "Which class is it"),
        (Finding.wrong_class, 0.99, {"name": "dent"}, "No defect is marked"),
        (Finding.redrawn, 0.5, {}, "Nothing is drawn"),
        (Finding.redrawn, 0.5, {"drawn": np.zeros((40, 60), bool)}, "Nothing is drawn"),
    ],
)
def test_what_says_nothing_is_refused(
    assistant: Assistant, seen: Seen, finding: Finding, threshold: float, values: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        judge(assistant, seen, finding, threshold, **values)


def test_an_unsure_verdict_cannot_be_accepted(assistant: Assistant, seen: Seen) -> None:
    decided = assistant.decide(seen, 0.5)
    unsure = replace(decided, row=replace(decided.row, verdict=Verdict.unsure))
    with pytest.raises(UserError, match="nothing to accept"):
        make_judgement(seen, unsure, Finding.accepted, model="m", user="ann")


@pytest.mark.parametrize(("names", "kept"), [(("dent", "dent"), "dent"), (("dent", "crack"), ""), ((None, None), "")])
def test_a_redrawn_mask_keeps_the_only_class_of_the_verdict(
    names: tuple[str | None, ...], kept: str, assistant: Assistant, seen: Seen
) -> None:
    decided = assistant.decide(seen, 0.5)
    regions = [replace(one, name=name) for one, name in zip(decided.row.regions, names, strict=True)]
    decided = replace(decided, row=replace(decided.row, regions=regions))
    drawn = np.zeros((40, 60), bool)
    drawn[2:6, 2:10] = True
    for name, expected in (("", kept), ("stain", "stain")):
        judgement, _ = make_judgement(seen, decided, Finding.redrawn, model="m", user="ann", name=name, drawn=drawn)
        assert [one.name for one in judgement.regions] == [expected]
