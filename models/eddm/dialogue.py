"""EDDM in conversation: free questions, and DDQA's four as it was trained on them (EIAD, Sec. III-A)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.ddqa.regions import REGIONS
from data.ddqa.tasks import AD_OPTIONS, format_prompt
from data.ddqa.wording import PAPER_TASKS, QUESTIONS, Task
from data.errors import UserError
from models.chat.answers import parse_letter
from models.chat.conversation import Conversation
from models.eddm.eddm import BOX_TOKENS, EDDM, LETTER_TOKENS, TEXT_TOKENS


class Dialogue(Conversation):
    """A conversation with EDDM about one image.

    DDQA's questions are asked alone, in the paper's wording and with its options, for so EDDM was trained on them;
    question and answer become a turn as any other. The wording names no product: the image shows it.
    """

    def __init__(self, eddm: EDDM, image: Path, *, max_tokens: int = TEXT_TOKENS, recall: int | None = None) -> None:
        """As `Conversation`, with an EDDM; any chat model is one that was taught no names: `EDDM(chat, ())`."""
        super().__init__(eddm.chat, image, max_tokens=max_tokens, recall=recall)
        self.eddm = eddm

    def ask_task(self, task: Task, names: Sequence[str] = ()) -> str:
        """Asks one of DDQA's four questions.

        AD is answered by `Yes.` or `No.`, RDL by the name of a region, DC by one of the names, DFM by a box as
        `models.chat.answers.parse_box` reads it. RDL and DC choose among more than four names in rounds, see
        `models.eddm.naming`. All but AD take for granted that there is a defect.

        Args:
            task: AD, RDL, DC or DFM.
            names: For DC: the defects to choose from; none takes those that EDDM was taught, and where it was taught
                none the question is asked without options.

        Returns:
            The answer in words; what the model said itself where that is none of the options; empty where no question
            of a round got an answer that is.

        Raises:
            UserError: If there is but one name to choose from, or no answer came.
            ValueError: If the task is none of the four.
        """
        if task not in PAPER_TASKS:
            raise ValueError(f"{task} is no question of DDQA's four. Choose one of {', '.join(PAPER_TASKS)}.")
        if len(names) == 1:
            raise UserError(f"One name, {names[0]}, leaves nothing to choose. Give two or more, or none.")
        return self._remember(QUESTIONS[task], lambda: self._answer(task, tuple(names) or self.eddm.defects))

    def _answer(self, task: Task, names: Sequence[str]) -> str:
        if task is Task.AD:
            reply = self._ask(format_prompt(task, AD_OPTIONS), LETTER_TOKENS)
            choice = parse_letter(reply, len(AD_OPTIONS))
            return reply if choice is None else AD_OPTIONS[choice]
        if task is Task.DFM:
            return self._ask(format_prompt(task), BOX_TOKENS)
        if task is Task.DC and not names:
            return self._ask(format_prompt(task), self.max_tokens)
        (found,) = self.eddm.choose([self.image], task, REGIONS if task is Task.RDL else names)
        return found or ""

    def _ask(self, prompt: str, max_tokens: int) -> str:
        return self.eddm.ask([self.image], prompt, max_tokens)[0]
