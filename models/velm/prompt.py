"""The prompt of VELM: pictures and texts from which an MLLM names the class of an anomaly (VELM, Sec. 3.2 and Fig. 4).

Five parts can be switched off, as in Table 5: the reference image, the visual prompt, the normal description, the
classification strategy and the class descriptions. What the paper leaves open, chosen here and set in the config:

- whether `good` is among the choices: it is not (Fig. 3 ends with the gate), `offer_good` adds it;
- an open set: `open_set` adds "none of these", which is never right but tells wrong from unsure;
- how the answer is written: by the option's letter or by its name.

The paper's Fig. 4 shows the prompt in part; the authors' code has it in full. `style=published` is built like theirs,
in words of our own: the pictures first, sound, query, outlined, without a word between; then what each shows, what is
normal (with the strategy, which their texts hold there), the classes in one numbered sentence, and the request for a
class's name alone. Two points differ: their reference is the first sound image of the test split (here one of the
training images, as the paper says), and GPT-4o, unlike Qwen, gets their text before the pictures.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from data.classes.texts import GOOD, Product
from data.ddqa.tasks import Task, format_prompt
from data.errors import UserError
from models.chat.protocol import ChatRequest
from models.velm.draw import VisualPromptKind

NONE_OF_THESE = "none of these"
DRAWN = {
    VisualPromptKind.contour: "The same image, with a red line around the area that an inspection system reports:",
    VisualPromptKind.published: "The same image, with a red line around the area that an inspection system reports:",
    VisualPromptKind.heat: "The same image, where brighter colours mark what an inspection system reports:",
    VisualPromptKind.crop: "The part of it that an inspection system reports, enlarged:",
}


class PromptStyle(StrEnum):
    """`velm`: all parts. `published`: as the authors' code arranges them, with its outline.

    `ddqa`: one picture and the question that EDDM was trained on, which knows names alone.
    """

    velm = "velm"
    published = "published"
    ddqa = "ddqa"


class AnswerForm(StrEnum):
    """How the reply names a class."""

    letter = "letter"
    name = "name"


@dataclass(kw_only=True, slots=True)
class PromptConfig:
    """What the MLLM is given.

    Attributes:
        style: `ddqa` leaves out all parts but one picture; it is what the tiny EDDM, which takes one image, can read.
        reference: Show a normal image from the training data.
        visual: Show what the expert found; how is `VisualPromptConfig`'s.
        normal: Describe what is normal.
        descriptions: Describe each class; without, only its name is given.
        strategy: Give the classification strategy, where the class file has one.
        answer: By letter or by name; a choice by likelihood is always by letter.
        offer_good: Offer `good` among the choices.
        open_set: Offer "none of these".
        image_size: Side of the square that every picture is resized to; None is 448, and for `style=ddqa` the
            picture's own size, as EDDM resizes itself.
        max_tokens: Longest reply.
    """

    style: PromptStyle = PromptStyle.velm
    reference: bool = True
    visual: bool = True
    normal: bool = True
    descriptions: bool = True
    strategy: bool = True
    answer: AnswerForm = AnswerForm.name
    offer_good: bool = False
    open_set: bool = False
    image_size: int | None = None
    max_tokens: int = 32

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            UserError: If one is out of range.
        """
        if self.image_size is not None and self.image_size < 1:
            raise UserError(f"prompt.image_size must be at least 1, not {self.image_size}.")
        if self.max_tokens < 1:
            raise UserError(f"prompt.max_tokens must be at least 1, not {self.max_tokens}.")

    @property
    def side(self) -> int | None:
        """Side of the pictures; None keeps their own size."""
        return self.image_size or (None if self.style is PromptStyle.ddqa else 448)


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one question.

    Attributes:
        query: The image in question.
        reference: A normal image; None leaves it out.
        visual: What the expert found; None leaves it out.
    """

    query: Path
    reference: Path | None = None
    visual: Path | None = None


def option_names(product: Product, config: PromptConfig) -> list[str]:
    """The choices, in the order of the class file; `good` and "none of these" last.

    Raises:
        UserError: If there are more choices than letters.
    """
    names = [entry.name for entry in product.classes]
    names += [GOOD] if config.offer_good else []
    names += [NONE_OF_THESE] if config.open_set else []
    if len(names) > len(string.ascii_uppercase):
        raise UserError(f"{len(names)} classes of '{product.category}', but 26 letters. Split the category.")
    return names


def build_request(product: Product, pictures: Pictures, kind: VisualPromptKind, config: PromptConfig) -> ChatRequest:
    """The whole question about one image, `style=velm` or `published`.

    Args:
        product: The category in words.
        pictures: What is shown.
        kind: What `pictures.visual` is.
        config: Which parts are given.
    """
    if config.style is PromptStyle.published:
        return _published_request(product, pictures, config)
    turn: list[str | Path] = [
        f"You inspect products: {product.category.replace('_', ' ')}. An inspection system has reported "
        "an anomaly. Say which class it belongs to."
    ]
    if config.reference and pictures.reference is not None:
        turn += ["A sound one, for comparison:", pictures.reference]
    turn += ["The image to judge:", pictures.query]
    if config.visual and pictures.visual is not None:
        turn += [DRAWN[kind], pictures.visual]
    *before, image = turn
    if not isinstance(image, Path):
        raise AssertionError("a turn ends with an image")
    return ChatRequest(image, _text(product, config), config.max_tokens, tuple(before))


def _published_request(product: Product, pictures: Pictures, config: PromptConfig) -> ChatRequest:
    shown = [
        (pictures.reference if config.reference else None, f"a sound {product.category}"),
        (pictures.query, f"a {product.category} with an anomaly"),
        (pictures.visual if config.visual else None, "the same one, where a red line surrounds what was detected"),
    ]
    paths, contents = zip(*[(path, content) for path, content in shown if path is not None], strict=True)
    sentences = [f"Image {number} shows {content}." for number, content in enumerate(contents, 1)]
    if config.normal:
        sentences.append(f"A sound {product.category} {product.normal}")
    if config.strategy and product.strategy:
        sentences.append(product.strategy)
    described = _descriptions(product, config)
    letters = config.answer is AnswerForm.letter
    options = [
        f"{string.ascii_uppercase[place] if letters else place + 1}. {name}"
        + (f": {described[name]}" if name in described else "")
        for place, name in enumerate(option_names(product, config))
    ]
    sentences.append(f"Classes of anomalies: {', '.join(options)}.")
    sentences.append(f"Decide which one it is, and reply with its {'letter' if letters else 'name'} alone.")
    return ChatRequest(paths[-1], " ".join(sentences), config.max_tokens, tuple(paths[:-1]))


def build_question(picture: Path, names: Sequence[str], max_tokens: int) -> ChatRequest:
    """DDQA's question for the type of a defect, `style=ddqa`."""
    return ChatRequest(picture, format_prompt(Task.DC, tuple(names)), max_tokens)


def _descriptions(product: Product, config: PromptConfig) -> dict[str, str]:
    described = {entry.name: entry.description for entry in product.classes} if config.descriptions else {}
    described |= {NONE_OF_THESE: "An anomaly that fits no description above."} if config.open_set else {}
    return described | ({GOOD: "The report is a false alarm: the product is sound."} if config.offer_good else {})


def _text(product: Product, config: PromptConfig) -> str:
    described = _descriptions(product, config)
    paragraphs = [f"What is normal: {product.normal}"] if config.normal else []
    lines = ["The classes:"]
    for letter, name in zip(string.ascii_uppercase, option_names(product, config), strict=False):
        mark = f"{letter}. " if config.answer is AnswerForm.letter else "- "
        lines.append(f"{mark}{name}: {described[name]}" if name in described else f"{mark}{name}")
    paragraphs.append("\n".join(lines))
    if config.strategy and product.strategy:
        paragraphs.append(f"How to tell them apart: {product.strategy}")
    if config.answer is AnswerForm.letter:
        paragraphs.append("Answer with the letter of one class and nothing else.")
    else:
        paragraphs.append("Answer with the name of one class, exactly as it is written above, and nothing else.")
    return "\n\n".join(paragraphs)
