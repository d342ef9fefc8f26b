"""MMAD's scorer against scores worked out by hand, honest and as published."""

import math

import numpy as np
import pytest

from eval.mmad.answers import Answer
from eval.mmad.compat import choose_as_published, keep_as_published, score_as_published
from eval.mmad.score import Z, mean_figure, proportion, score_answers

AD, DC, OC = "anomaly_discrimination", "defect_classification", "object_classification"
BAD, GOOD = "VisA/candle/test/bad/{}.JPG", "VisA/candle/test/good/{}.JPG"


def answer(image: str, column: str, truth: str, choice: str | None, reply: str | None = None) -> Answer:
    return Answer(
        image=image,
        prefix=image.split("/")[0],
        category=image.split("/")[1],
        column=column,
        truth=truth,
        choice=choice,
        reply=(choice or "") if reply is None else reply,
        options=("Yes.", "No.") if column == AD else ("scratch", "hole", "dent", "stain"),
    )


def hand_made() -> list[Answer]:
    """VisA: 3 of 4 abnormal right, 1 of 3 normal right (one wrong, one unread); DC 1 of 2. LOCO: one question."""
    return [
        answer(BAD.format(0), AD, "A", "A"),
        answer(BAD.format(0), DC, "B", "B"),
        answer(BAD.format(1), AD, "A", "A"),
        answer(BAD.format(1), DC, "B", "D", "D. It is a stain"),
        answer(BAD.format(2), AD, "A", "A"),
        answer(BAD.format(3), AD, "A", "B"),
        answer(GOOD.format(4), AD, "B", "B"),
        answer(GOOD.format(5), AD, "B", "A"),
        answer(GOOD.format(6), AD, "B", None, "I cannot tell"),
        answer("MVTec-LOCO/pushpins/test/good/0.png", OC, "C", "C"),
    ]


def test_the_honest_tables_equal_those_by_hand() -> None:
    results = score_answers(hand_made())
    visa, loco = results["datasets"]["VisA"], results["datasets"]["MVTec-LOCO"]
    expected_ad = 100 * (1 / 3 + 3 / 4) / 2
    assert visa[AD] == pytest.approx(expected_ad)
    assert visa[DC] == pytest.approx(50)
    assert visa[OC] is None
    assert visa["average"] == pytest.approx((expected_ad + 50) / 2)
    assert visa["overkill"] == pytest.approx(100 / 3)
    assert visa["miss"] == pytest.approx(25)
    assert visa["unparsable"] == pytest.approx(100 / 9)
    assert visa["questions"] == 9
    assert OC in visa["missing"] and AD not in visa["missing"]
    assert visa["categories"]["candle"][AD] == pytest.approx(expected_ad)
    assert (loco[OC], loco["average"], loco[AD]) == (100, 100, None)
    mean = results["mean"]
    assert mean[AD] == pytest.approx(expected_ad)
    assert mean["average"] == pytest.approx(((expected_ad + 50) / 2 + 100) / 2)


def test_mvtec_ad_is_pooled_and_normal_or_abnormal_alone_gives_no_ad() -> None:
    rows = [
        answer("DS-MVTec/bottle/image/broken/0.png", AD, "A", "A"),
        answer("MVTec-AD/bottle/test/good/1.png", AD, "B", "B"),
    ]
    assert score_answers(rows)["datasets"]["DS-MVTec"][AD] == 100
    assert score_answers(rows[:1])["datasets"]["DS-MVTec"][AD] is None


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("B", "B"),
        ("A scratch is seen, so B.", "B"),
        ("B. A scratch", "A"),  # the last lone letter, be it an article
        ("b", "D"),  # no lone capital: the nearest text, stain, sharing no letter less than the others
        ("It is a dent", "C"),
        ("ABC hole", "B"),
        (None, None),
    ],
)
def test_the_published_parser_guesses(reply: str | None, choice: str | None) -> None:
    found = choose_as_published(reply, ("scratch", "hole", "dent", "stain"))
    if reply == "b":
        assert found in tuple("ABCD")  # never None, which is the fault
    else:
        assert found == choice


def test_the_published_list_loses_the_answer_after_each_unread_one() -> None:
    choices = ["A", None, "B", "C", None, None, "D", None]
    rows = [answer(BAD.format(index), DC, "A", choice) for index, choice in enumerate(choices)]
    assert [row.choice for row in keep_as_published(rows)] == ["A", "C", "D"]


def test_the_published_tables_equal_those_by_hand() -> None:
    rows = [
        answer(BAD.format(0), AD, "A", None, "The answer is A"),  # right, though no strict choice
        answer(BAD.format(0), DC, "B", "B", "B. A hole"),  # the article wins: wrong
        answer(BAD.format(1), AD, "A", None, "Yes, surely."),  # nearest text: right
        answer(GOOD.format(2), AD, "B", None, None),
        answer(GOOD.format(3), AD, "B", "B"),  # lost with the one before
        answer(GOOD.format(4), AD, "B", "A"),
        answer(GOOD.format(5), AD, "B", "B"),
        answer("MVTec-AD/bottle/test/good/1.png", OC, "C", "C"),
    ]
    rows[3] = Answer(**{name: getattr(rows[3], name) for name in Answer.__slots__} | {"reply": None})
    results = score_as_published(rows)
    visa, mvtec = results["datasets"]["VisA"], results["datasets"]["MVTec-AD"]
    assert visa[AD] == pytest.approx(100 * (1 / 2 + 2 / 2) / 2)
    assert visa[DC] == 0
    assert visa[OC] == 0  # asked elsewhere: counts as 0 here
    assert visa["average"] == pytest.approx(75 / 3)
    assert (visa["overkill"], visa["miss"]) == (50, 0)
    assert mvtec[OC] == 100
    assert (mvtec[AD], mvtec["overkill"], mvtec["miss"]) == (0, 100, 100)
    assert mvtec["average"] == pytest.approx(100 / 3)
    assert results["mean"]["average"] == pytest.approx((25 + 100 / 3) / 2)
    assert visa["defect_analysis"] is None  # asked nowhere: no column
    assert results["published_scorer"] == {"without a letter": 1, "counted": 6, "not counted": 2}


def test_the_published_scorer_prints_100_where_nothing_was_asked_about_anomalies() -> None:
    results = score_as_published([answer(BAD.format(0), DC, "A", "A", "A"), answer(GOOD.format(1), OC, "B", "B", "B")])
    for table in (results["mean"], results["datasets"]["VisA"]):
        assert (table["overkill"], table["miss"], table[AD]) == (100, 100, None)
        assert table["average"] == 100  # which they are no part of


def wilson(hits: int, count: int) -> list[float]:
    share = hits / count
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return [centre - half, centre + half]


def test_one_question_an_image_gives_wilsons_interval() -> None:
    figure = proportion([True] * 60 + [False] * 40, range(100), 100)
    assert figure is not None
    assert figure.interval() == pytest.approx(wilson(60, 100), abs=2e-3)
    for hits in (0, 10):
        figure = proportion([hits > 0] * 10, range(10), 10)
        assert figure is not None
        assert figure.interval() == pytest.approx(wilson(hits, 10))


def test_questions_of_one_image_are_not_independent() -> None:
    hits = [True, True, False, False] * 20
    apart = proportion(hits, range(80), 80)
    together = proportion(hits, [index // 2 for index in range(80)], 40)
    assert apart is not None and together is not None
    widths = [high - low for low, high in (apart.interval(), together.interval())]
    assert widths[1] > 1.3 * widths[0]


def test_intervals_of_means_cover_the_truth() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        normal = proportion(list(random.random(40) < 0.9), range(40), 100)
        abnormal = proportion(list(random.random(60) < 0.4), range(40, 100), 100)
        figure = mean_figure([normal, abnormal])
        assert figure is not None
        low, high = figure.interval()
        covered += low <= 0.65 <= high
    assert 0.92 <= covered / 300 <= 0.99


def test_certain_halves_leave_an_uncertain_mean() -> None:
    figure = mean_figure([proportion([True] * 3, range(3), 6), proportion([False] * 3, range(3, 6), 6)])
    assert figure is not None
    low, high = figure.interval()
    assert low < 0.35 and high > 0.65
    assert proportion([], [], 3) is None
    assert mean_figure([None]) is None
