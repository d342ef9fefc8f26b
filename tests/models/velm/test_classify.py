from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from data.classes.texts import ClassText, Product
from data.errors import UserError
from models.chat.protocol import ChatRequest, Failure
from models.velm.classify import Answer, Case, ChoiceMode, Classifier, read_answer
from models.velm.draw import VisualPromptKind
from models.velm.prompt import AnswerForm, Pictures, PromptConfig, PromptStyle, build_request, option_names

PRODUCT = Product(
    "steel_nut",
    "A grey ring.",
    "Look at the rim.",
    (ClassText("bent", "bent rim", "Not flat."), ClassText("small-hole", "pinhole", "A dot.")),
)
MANY = Product("nut", "A nut.", "", tuple(ClassText(f"c{n}", f"class {n}", f"text {n}") for n in range(9)))
PICTURES = Pictures(Path("query.png"), Path("reference.png"), Path("visual.png"))


class Echo:
    """Replies what it is told, and keeps the requests."""

    def __init__(self, *replies: str) -> None:
        self.name, self.replies, self.requests = "echo", list(replies), list[ChatRequest]()

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.requests += requests
        return [self.replies[(len(self.requests) - 1) % len(self.replies)] for _ in requests]


class Streaming(Echo):
    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        yield 1, "pinhole"
        yield 0, Failure("lost")


def request_of(**changes: object) -> ChatRequest:
    return build_request(PRODUCT, PICTURES, VisualPromptKind.contour, PromptConfig(**changes))  # type: ignore[arg-type]


def test_all_parts() -> None:
    request = request_of()
    assert [path.name for path in request.images] == ["reference.png", "query.png", "visual.png"]
    assert request.image.name == "visual.png"
    for text in ("A grey ring.", "- bent rim: Not flat.", "- pinhole: A dot.", "Look at the rim."):
        assert text in request.prompt
    assert "steel nut" in str(request.before[0]) and "red line" in str(request.before[-1])


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("reference", "reference.png"),
        ("visual", "visual.png"),
        ("normal", "A grey ring."),
        ("strategy", "Look at the rim."),
        ("descriptions", "Not flat."),
    ],
)
def test_each_part_can_be_left_out(part: str, gone: str) -> None:
    whole, less = request_of(), request_of(**{part: False})
    assert gone in " ".join(map(str, whole.parts))
    assert gone not in " ".join(map(str, less.parts))
    assert "bent rim" in less.prompt and Path("query.png") in less.images  # the choices and the query always stay


def test_the_published_arrangement() -> None:
    request = request_of(style=PromptStyle.published)
    assert request.parts[:-1] == [Path("reference.png"), Path("query.png"), Path("visual.png")]  # pictures, then words
    text = request.prompt
    order = [
        "Image 1 shows a sound",
        "Image 2 shows",
        "Image 3 shows",
        "red line",
        "A grey ring.",
        "Look at the rim.",
        "1. bent rim: Not flat., 2. pinhole: A dot.",
        "name alone",
    ]
    assert [text.find(part) for part in order] == sorted(text.find(part) for part in order) and text.find(order[0]) == 0
    assert "\n" not in text
    less = request_of(style=PromptStyle.published, reference=False, visual=False, normal=False, strategy=False)
    assert less.parts[:-1] == [Path("query.png")] and "Image 1 shows a steel_nut with an anomaly." in less.prompt
    assert "Image 2" not in less.prompt and "A grey ring." not in less.prompt
    letters = request_of(style=PromptStyle.published, answer=AnswerForm.letter, descriptions=False)
    assert "A. bent rim, B. pinhole." in letters.prompt and "letter alone" in letters.prompt


def test_options() -> None:
    assert option_names(PRODUCT, PromptConfig()) == ["bent rim", "pinhole"]
    extended = PromptConfig(offer_good=True, open_set=True, answer=AnswerForm.letter)
    assert option_names(PRODUCT, extended) == ["bent rim", "pinhole", "good", "none of these"]
    assert "D. none of these" in build_request(PRODUCT, PICTURES, VisualPromptKind.contour, extended).prompt
    alphabet = Product("x", "n", "", tuple(ClassText(f"c{n}", f"c{n}", "d") for n in range(27)))
    with pytest.raises(UserError, match="26 letters"):
        option_names(alphabet, PromptConfig())


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ("Bent Rim.", "bent rim"),
        ("pinholes", "pinhole"),
        ("bent rim, pinhole", "bent rim, pinhole"),  # two classes are none
        ("verbogener Rand", "verbogener Rand"),  # another language
        ("It is a pinhole because of the dot", "It is a pinhole because of the dot"),
        ("good", "good (not among the choices)"),
        ("", ""),
    ],
)
def test_replies_are_read_strictly(reply: str, name: str) -> None:
    assert read_answer(reply, ["bent rim", "pinhole"], PromptConfig()) == Answer(name, reply)


def test_letters_are_read_strictly() -> None:
    config, names = PromptConfig(answer=AnswerForm.letter), ["bent rim", "pinhole"]
    read = [read_answer(reply, names, config).name for reply in ("B", "(A)", "C", "A or B", "pinhole")]
    assert read == ["pinhole", "bent rim", "C", "A or B", "pinhole"]


def test_a_model_without_logits_generates() -> None:
    chat = Echo("pinhole", "no idea")
    classifier = Classifier(chat, PromptConfig(), VisualPromptKind.contour, ChoiceMode.auto)
    assert classifier.mode is ChoiceMode.generate
    assert list(classifier.classify([Case(PRODUCT, PICTURES)])) == [(0, Answer("pinhole", "pinhole"))]
    with pytest.raises(UserError, match="likelihood"):
        Classifier(chat, PromptConfig(), VisualPromptKind.contour, ChoiceMode.likelihood)


def test_streamed_answers_and_failures_pass_through() -> None:
    classifier = Classifier(Streaming(), PromptConfig(), VisualPromptKind.contour, ChoiceMode.generate)
    found = list(classifier.classify([Case(PRODUCT, PICTURES)] * 2))
    assert found == [(1, Answer("pinhole", "pinhole")), (0, Failure("lost"))]


class LikesClass7:
    """Scores the letter of "class 7" highest."""

    name = "scorer"

    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        return [
            [
                float("class 7" in line)
                for line in request.prompt.splitlines()
                if line[:3] in ("A. ", "B. ", "C. ", "D. ")
            ]
            for request in requests
        ]


def test_eddm_is_asked_in_rounds_of_four_about_one_picture() -> None:
    chat = Echo("A")
    classifier = Classifier(chat, PromptConfig(style=PromptStyle.ddqa), VisualPromptKind.contour, ChoiceMode.generate)
    ((_, answer),) = classifier.classify([Case(MANY, PICTURES)])
    assert answer.name == "class 0" and len(chat.requests) == 3
    assert all(request.images == [Path("visual.png")] for request in chat.requests)
    classifier.scorer = LikesClass7()
    ((_, answer),) = classifier.classify([Case(MANY, PICTURES)])
    assert answer == Answer("class 7")


def test_eddm_that_never_answers_names_no_class() -> None:
    classifier = Classifier(
        Echo("Well."), PromptConfig(style=PromptStyle.ddqa), VisualPromptKind.contour, ChoiceMode.generate
    )
    ((_, answer),) = classifier.classify([Case(PRODUCT, PICTURES)])
    assert answer.name == "Well."


def test_bad_sizes() -> None:
    for changes in ({"image_size": 0}, {"max_tokens": 0}):
        with pytest.raises(UserError):
            PromptConfig(**changes)
    assert [PromptConfig(style=style).side for style in PromptStyle] == [448, 448, None]
