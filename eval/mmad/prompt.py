"""What a model is shown and asked for each question of MMAD: wording, templates, domain knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.files import hash_value
from data.mmad import LETTERS, MMAD, MMADImage, Question, Skipped, TemplateKind
from models.chat.protocol import ChatRequest


@dataclass(kw_only=True, slots=True)
class WordingConfig:
    """The texts of a turn: knowledge, templates, template images, query, query image, question.

    A part that is empty is left out. EIAD publishes its 0-shot format alone, a question after its image; the wording
    of k-shot and of domain knowledge is ours.

    Attributes:
        name: Names the wording in logs and tables.
        question: With `{question}` and `{options}`, a line an option, each ended.
        option: One line of the options, with `{letter}` and `{text}`.
        templates: Before the template images, with `{count}`.
        query: After the template images, before the query image; used with templates only.
        knowledge: With `{knowledge}`.
    """

    name: str
    question: str
    option: str = "{letter}. {text}\n"
    templates: str = ""
    query: str = ""
    knowledge: str = ""


@dataclass(kw_only=True, slots=True)
class AskConfig:
    """How questions are asked.

    Attributes:
        wording: The texts.
        shots: Template images a question, 0 to as many as MMAD lists.
        template: Which list they come from, in its order.
        knowledge: Give the texts of `domain_knowledge.json`.
        max_tokens: Longest reply in `mode=generate`.
    """

    wording: WordingConfig
    shots: int = 0
    template: TemplateKind = TemplateKind.random
    knowledge: bool = False
    max_tokens: int = 16

    @property
    def setting(self) -> str:
        """One line that tells settings apart for a reader."""
        shots = f"{self.shots}-shot" + (f" {self.template.value}" if self.shots else "")
        return f"{shots}, {'with' if self.knowledge else 'no'} knowledge, wording {self.wording.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A question that will be asked.

    Attributes:
        image: The image.
        question: The question.
        request: What the model gets.
        prompt: Hash of all that it gets but the query image: two prompts with one hash are the same prompt.
    """

    image: MMADImage
    question: Question
    request: ChatRequest
    prompt: str


def plan_questions(
    mmad: MMAD, config: AskConfig, knowledge: Mapping[tuple[str, str], str]
) -> tuple[list[Planned], list[Skipped]]:
    """Writes the prompt of every question, in order.

    Args:
        mmad: The benchmark.
        config: How to ask.
        knowledge: (dataset, category) → text; needed with `config.knowledge`.

    Returns:
        The plan, and the images without enough templates or knowledge.

    Raises:
        UserError: If `shots` is negative, or a text of the wording has an unknown placeholder.
    """
    if config.shots < 0:
        raise UserError(f"shots={config.shots}: give 0 or more.")
    planned, skipped = [], []
    for image in mmad.images:
        before = _before(image, config, knowledge)
        if isinstance(before, Skipped):
            skipped.append(before)
            continue
        shown = [part if isinstance(part, str) else "/".join(part.parts[-4:]) for part in before]
        for question in image.questions:
            text = format_question(question, config.wording)
            planned.append(
                Planned(
                    image=image,
                    question=question,
                    request=ChatRequest(image.path, text, config.max_tokens, before),
                    prompt=hash_value([shown, text, config.max_tokens])[:16],
                )
            )
    return planned, skipped


def format_question(question: Question, wording: WordingConfig) -> str:
    """A question with its options as the wording puts it."""
    options = "".join(
        _fill(wording.option, letter=letter, text=text) for letter, text in zip(LETTERS, question.options, strict=False)
    )
    return _fill(wording.question, question=question.text, options=options)


def _before(
    image: MMADImage, config: AskConfig, knowledge: Mapping[tuple[str, str], str]
) -> tuple[str | Path, ...] | Skipped:
    """What comes before the query image; the same for all questions of an image, so that it is encoded once."""
    parts: list[str | Path] = []
    if config.knowledge:
        if (image.dataset, image.category) not in knowledge:
            return Skipped(image.key, "", "no domain knowledge of its category")
        parts.append(_fill(config.wording.knowledge, knowledge=knowledge[image.dataset, image.category]))
    if config.shots:
        templates = [path for path in image.templates[config.template] if path.is_file()][: config.shots]
        if len(templates) < config.shots:
            return Skipped(image.key, "", f"fewer than {config.shots} {config.template.value} templates on disk")
        parts += [_fill(config.wording.templates, count=str(config.shots)), *templates, config.wording.query]
    return tuple(part for part in parts if part != "")


def _fill(wording: str, /, **values: str) -> str:
    try:
        return wording.format(**values)
    except (KeyError, IndexError, ValueError) as error:
        names = ", ".join(f"{{{name}}}" for name in values)
        raise UserError(f"Bad placeholder in the wording {wording!r}: {error}. It may hold {names}.") from error
