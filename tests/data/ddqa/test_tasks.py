import numpy as np
import pytest

from data.ddqa.tasks import LETTERS, RegionRule, ask_ad, ask_dc, ask_dfm, ask_rdl
from data.masks import Box, components


def test_wording_of_the_paper() -> None:
    question = ask_ad(normal=False)
    assert question.prompt.splitlines()[:3] == ["Is there any visible defect in this image?", "A. No.", "B. Yes."]
    assert question.answer == "B"
    assert ask_ad(normal=True).answer == "A"


def test_box_is_normalised_xyxy_with_three_decimals() -> None:
    assert ask_dfm(Box(415, 737, 473, 800), (1000, 1000)).answer == "[0.415, 0.737, 0.473, 0.800]"
    assert ask_dfm(Box(0, 0, 200, 50), (100, 200)).answer == "[0.000, 0.000, 1.000, 0.500]"


def test_rdl_has_one_right_option_and_untouched_wrong_ones() -> None:
    mask = np.zeros((90, 90), bool)
    mask[5:20, 5:40] = True  # touches top left (most) and top
    for letter in range(4):
        question = ask_rdl(mask, components(mask), letter, np.random.default_rng(letter))
        assert question.answer == LETTERS[letter]
        assert question.options[letter] == "top left"
        assert len(set(question.options)) == 4
        assert "top" not in question.options


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (RegionRule.largest_centroid, "bottom"),
        (RegionRule.most_pixels, "bottom"),
        (RegionRule.union_centroid, "center"),
        (RegionRule.skip_ambiguous, None),
    ],
)
def test_each_rule_chooses_its_own_cell_of_a_wide_image(rule: RegionRule, answer: str | None) -> None:
    mask = np.zeros((90, 180), bool)
    mask[70:80, 100:118] = True
    mask[5:15, 5:15] = True
    question = ask_rdl(mask, components(mask), 1, np.random.default_rng(0), rule)
    assert (question.options[1] if question else None) == answer


def test_rdl_of_a_defect_everywhere_still_has_four_options() -> None:
    mask = np.ones((90, 90), bool)
    question = ask_rdl(mask, components(mask), 2, np.random.default_rng(0))
    assert question.options[2] == "center"
    assert len(set(question.options)) == 4


def test_dc_puts_the_answer_where_the_letter_says() -> None:
    question = ask_dc("crack", ["crack", "hole", "stain"], 1, 3, np.random.default_rng(0))
    assert (question.options[3], question.answer) == ("crack", "D")
