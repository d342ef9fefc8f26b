"""VELM's second step: from a question with pictures to one class, by likelihood or by a strictly read reply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from data.classes.texts import GOOD, Product, plain_name
from data.errors import UserError
from models.chat.answers import parse_letter
from models.chat.config import GREEDY
from models.chat.load import load_scorer
from models.chat.protocol import ChatModel, ChatRequest, Failure, OptionScorer, StreamingChat
from models.eddm.eddm import LETTER_TOKENS
from models.eddm.naming import knock_out
from models.velm.draw import VisualPromptKind
from models.velm.prompt import (
    AnswerForm,
    Pictures,
    PromptConfig,
    PromptStyle,
    build_question,
    build_request,
    option_names,
)


class ChoiceMode(StrEnum):
    """How a class is chosen.

    `likelihood`: the option whose letter is the likeliest first token; always one of the options, nothing to parse.
    `generate`: the model replies and the reply is read strictly. `auto`: by likelihood where the back end shows logits.
    """

    auto = "auto"
    likelihood = "likelihood"
    generate = "generate"


@dataclass(frozen=True, slots=True)
class Case:
    """One image to classify: its category in words, and its pictures."""

    product: Product
    pictures: Pictures


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        name: Name of the chosen class, or the reply itself when it names none.
        reply: The model's words; empty when there were none (likelihood).
    """

    name: str
    reply: str = ""


class Classifier:
    """An MLLM that names classes.

    Args:
        chat: The model.
        prompt: What it is given.
        visual: What the visual prompt is.
        mode: How it chooses.

    Raises:
        UserError: If `mode` is `likelihood` and the back end does not show its logits.
    """

    def __init__(self, chat: ChatModel, prompt: PromptConfig, visual: VisualPromptKind, mode: ChoiceMode) -> None:
        self.chat, self.visual = chat, visual
        self.scorer: OptionScorer | None = None
        if mode is not ChoiceMode.generate:
            try:
                self.scorer = load_scorer(chat)
            except UserError:
                if mode is ChoiceMode.likelihood:
                    raise
        self.prompt = prompt if self.scorer is None else replace(prompt, answer=AnswerForm.letter)

    @property
    def mode(self) -> ChoiceMode:
        """How it chooses in fact."""
        return ChoiceMode.generate if self.scorer is None else ChoiceMode.likelihood

    @property
    def decoding(self) -> dict[str, Any]:
        """How its replies are generated; empty where letters are scored."""
        return GREEDY if self.scorer is None else {}

    def classify(self, cases: Sequence[Case]) -> Iterator[tuple[int, Answer | Failure]]:
        """Yields (index, answer) as they come, each case once.

        Raises:
            UserError: If a model whose answers come all at once fails.
        """
        if self.prompt.style is PromptStyle.ddqa:
            yield from enumerate(self._knock_out(case) for case in cases)
            return
        requests = [build_request(case.product, case.pictures, self.visual, self.prompt) for case in cases]
        options = [option_names(case.product, self.prompt) for case in cases]
        if self.scorer is not None:
            for index, names in enumerate(options):
                yield index, Answer(names[self._likeliest(requests[index], len(names))])
        elif isinstance(self.chat, StreamingChat):
            for index, reply in self.chat.stream(requests):
                yield index, reply if isinstance(reply, Failure) else read_answer(reply, options[index], self.prompt)
        else:
            for index, reply in enumerate(self.chat.chat(requests)):
                yield index, read_answer(reply, options[index], self.prompt)

    def _likeliest(self, request: ChatRequest, count: int) -> int:
        assert self.scorer is not None
        scores = self.scorer.score([request], [count])[0]
        return max(range(count), key=scores.__getitem__)

    def _knock_out(self, case: Case) -> Answer:
        """DDQA asks with four options: the winner of a question meets the next names."""
        picture = case.pictures.visual or case.pictures.query
        replies: list[str] = []

        def ask(rounds: Sequence[Sequence[str]]) -> list[int | None]:
            request = build_question(picture, rounds[0], LETTER_TOKENS)
            if self.scorer is not None:
                return [self._likeliest(request, len(rounds[0]))]
            replies.extend(self.chat.chat([request]))
            return [parse_letter(replies[-1], len(rounds[0]))]

        winner = knock_out(option_names(case.product, self.prompt), 1, ask)[0]
        return Answer(winner if winner is not None else replies[-1], " | ".join(replies))


def read_answer(reply: str, names: Sequence[str], config: PromptConfig) -> Answer:
    """Reads a reply strictly: it is one letter, or one name up to spelling; anything else names no class.

    A reply in another language, with two classes, or with a sentence around the name stays as it is, and is counted as
    unknown by the scores.
    """
    if config.answer is AnswerForm.letter and (choice := parse_letter(reply, len(names))) is not None:
        return Answer(names[choice], reply)
    by_name = {plain_name(name): name for name in names}
    named = by_name.get(plain_name(reply))
    if named is None and plain_name(reply) == GOOD:
        named = f"{reply} (not among the choices)"  # must not be scored as an answer
    return Answer(named or reply, reply)
