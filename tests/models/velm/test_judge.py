from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.sample import load_image
from models.chat.protocol import ChatRequest
from models.contour import RED, ContourConfig
from models.velm.judge import Judge, read_product

CLASSES, POLICY = "data/classes/template.yaml", "data/classes/policies/template.yaml"
IMAGE = np.full((40, 60, 3), 90, np.uint8)
PATH = Path("part.png")


class Letters:
    """Always answers one letter; looks at the picture it gets."""

    def __init__(self, letter: str) -> None:
        self.name, self.letter, self.red = "letters", letter, 0

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.red = int((load_image(requests[0].image) == RED).all(-1).sum())
        return [self.letter] * len(requests)


def make_judge(letter: str, policy: str = POLICY) -> tuple[Judge, Letters]:
    chat = Letters(letter)
    product, read = read_product(CLASSES, "washer", policy)
    assert product is not None
    return Judge(chat, product, read, ContourConfig()), chat


def test_class_action_and_reason() -> None:
    judge, chat = make_judge("A")
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    verdict = judge.judge(PATH, IMAGE, mask).as_json()
    assert (verdict["class"], verdict["action"]) == ("missing_part", "scrap")
    assert "missing_part" in verdict["reason"]
    assert chat.red > 0  # it was shown the outline


def test_an_empty_mask_passes_unasked() -> None:
    judge, chat = make_judge("A")
    verdict = judge.judge(PATH, IMAGE, np.zeros((40, 60), bool)).as_json()
    assert (verdict["class"], verdict["action"], chat.red) == ("good", "pass", 0)


def test_an_unreadable_answer_is_asked_about() -> None:
    verdict = make_judge("No idea")[0].judge(PATH, IMAGE, np.ones((40, 60), bool)).as_json()
    assert (verdict["class"], verdict["action"]) == ("unknown", "ask")


def test_without_a_policy_there_is_a_class_alone() -> None:
    assert set(make_judge("B", "")[0].judge(PATH, IMAGE, np.ones((40, 60), bool)).as_json()) == {"class"}


def test_arguments() -> None:
    assert read_product("", "", "") == (None, None)
    with pytest.raises(UserError, match="need classes"):
        read_product("", "", POLICY)
    with pytest.raises(UserError, match="No category 'nut'"):
        read_product(CLASSES, "nut", "")
    with pytest.raises(UserError, match="several categories"):
        read_product("data/classes/factory.yaml", "", "")
