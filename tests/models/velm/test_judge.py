from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.sample import load_image
from models.chat.protocol import ChatRequest
from models.contour import RED, ContourConfig
from models.velm.classify import ChoiceMode, Classifier
from models.velm.draw import VisualPromptKind
from models.velm.judge import Judge, Marked, read_product
from models.velm.prompt import PromptConfig, PromptStyle

CLASSES, POLICY = "data/classes/template.yaml", "data/classes/policies/template.yaml"
IMAGE = np.full((40, 60, 3), 90, np.uint8)
PATH = Path("part.png")


class Letters:
    """Always answers the same; looks at the pictures it gets."""

    def __init__(self, reply: str) -> None:
        self.name, self.reply = "letters", reply
        self.red: list[int] = []
        self.shapes: list[tuple[int, ...]] = []

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        pictures = [load_image(request.images[-1]) for request in requests]
        self.red += [int((picture == RED).all(-1).sum()) for picture in pictures]
        self.shapes += [picture.shape for picture in pictures]
        return [self.reply] * len(requests)


def make_judge(reply: str, prompt: PromptConfig | None = None) -> tuple[Judge, Letters]:
    chat = Letters(reply)
    product, _ = read_product(CLASSES, "washer", POLICY)
    assert product is not None
    style = prompt or PromptConfig(style=PromptStyle.ddqa)
    classifier = Classifier(chat, style, VisualPromptKind.contour, ChoiceMode.auto)
    return Judge(classifier, product, ContourConfig()), chat


def marked(side: int) -> Marked:
    mask = np.zeros((40, 60), bool)
    mask[10 : 10 + side, 10 : 10 + side] = True
    return Marked(PATH, IMAGE, mask)


def test_each_place_is_outlined_and_named() -> None:
    judge, chat = make_judge("A")
    assert judge.name([marked(4), marked(20)]) == ["missing_part", "missing_part"]
    assert 0 < chat.red[0] < chat.red[1]  # each was shown its own outline


def test_nothing_to_name_asks_nobody() -> None:
    judge, chat = make_judge("A")
    assert judge.name([]) == [] and not chat.red


def test_an_answer_that_names_no_class_is_unknown() -> None:
    assert make_judge("No idea")[0].name([marked(4)]) == ["unknown"]


def test_another_model_is_asked_with_the_whole_prompt_at_its_size() -> None:
    judge, chat = make_judge("Missing part.", PromptConfig(image_size=96))
    assert judge.name([marked(9)]) == ["missing_part"]
    assert chat.shapes == [(96, 96, 3)]
    assert make_judge("good", PromptConfig(offer_good=True))[0].name([marked(9)]) == ["good"]
    assert make_judge("good")[0].name([marked(9)]) == ["unknown"]  # it was not among the choices


def test_what_the_names_depend_on() -> None:
    assert make_judge("A")[0].facts() == make_judge("B")[0].facts()
    assert make_judge("A")[0].facts() != make_judge("A", PromptConfig())[0].facts()


def test_arguments() -> None:
    assert read_product("", "gear", "") == (None, None)
    with pytest.raises(UserError, match=r"policy= needs classes"):
        read_product("", "", POLICY)
    with pytest.raises(UserError, match="No category 'nut'"):
        read_product(CLASSES, "nut", "")
    with pytest.raises(UserError, match="several categories"):
        read_product("data/classes/factory.yaml", "", "")
