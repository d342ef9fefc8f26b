"""What other programs may call, one photo at a time and of no tab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError, brief
from data.pixels.levels import decode_levels
from data.sample import ImageArray, MaskArray
from eval.assistant.assistant import Assistant
from eval.assistant.session import Session
from eval.assistant.uploads import Upload, about, take_uploads
from eval.assistant.views import View
from eval.inspection.rows import to_json
from eval.judgements.export import Form
from eval.judgements.judgement import Finding
from models.chat.protocol import Turn

HIDDEN = ("image", "key", "mask", "overlay", "thumbnail")  # of a row: paths, and what was not written


class Service:
    """The functions of the page, for programs.

    Args:
        assistant: What answers.
        folder: Where exports are written to.
        user: Who judges, unless the program says.
    """

    def __init__(self, assistant: Assistant, folder: Path, user: str) -> None:
        self.assistant, self.folder, self.user = assistant, folder, user

    def inspect(self, file: str | None, threshold: float | None = None) -> tuple[dict[str, Any], ImageArray]:
        """Looks at a photo.

        Args:
            file: Where it lies here.
            threshold: Of the decision; None is the page's own.

        Returns:
            The row, as `results.jsonl` of `scripts.inspect` holds it, without paths; and the photo with its defects
            outlined, (H, W, 3) uint8 RGB.

        Raises:
            UserError: If it cannot be read.
        """
        session, threshold = self._look(file), self._threshold(threshold)
        decided = session.decided(self.assistant, threshold)
        assert decided is not None
        row = json.loads(json.dumps(to_json(decided.row)))  # a box is a list there
        shown = {name: value for name, value in row.items() if name not in HIDDEN}
        return shown, session.draw(self.assistant, decided, View.contour, 1.0)

    def ask(self, file: str | None, question: str, history: list[list[str]] | None = None) -> str:
        """Asks about a photo.

        Args:
            file: Where it lies here.
            question: In one's own words.
            history: Earlier questions and answers about it, a pair each.

        Raises:
            UserError: If the photo cannot be read, the history is none, or nobody answers.
        """
        (upload,) = self._take(file)
        dialogue = self.assistant.talk(upload.path)
        try:
            dialogue.turns = [Turn(str(asked), str(answered)) for asked, answered in history or []]
        except (TypeError, ValueError) as error:
            raise UserError("history must be a list of pairs: [[question, answer], …].") from error
        return self.assistant.ask(dialogue, question)

    def judge(
        self, file: str | None, finding: str, name: str = "", user: str = "", mask: str | None = None,
        threshold: float | None = None,
    ) -> int:  # fmt: skip
        """Looks at a photo, and adds a judgement of the verdict to the log.

        Args:
            file: Where it lies here.
            finding: `accepted`, `wrong_class`, `fine` or `redrawn`.
            name: The right class.
            user: Who says it.
            mask: File of a mask at the photo's size, white on the defect; of `redrawn`.
            threshold: Of the verdict; None is the page's own.

        Returns:
            The judgement's number.

        Raises:
            UserError: If the photo or the mask cannot be read, or there is nothing that this could be said of.
        """
        if finding not in tuple(Finding):
            raise UserError(f"finding={finding!r} must be one of {', '.join(Finding)}.")
        if mask and finding != Finding.redrawn:
            raise UserError(f"A mask goes with finding=redrawn, not with {finding}. Leave it out.")
        session = self._look(file)
        drawn = _read_mask(Path(mask)) if mask else None
        return session.judge(
            self.assistant,
            self._threshold(threshold),
            Finding(finding),
            user=user or self.user,
            name=name or "",
            drawn=drawn,
        )

    def export(self, form: str) -> str:
        """Exports the log as a ZIP file; returns where it lies here.

        Raises:
            UserError: If the form is none, or there is nothing to export.
        """
        if form not in tuple(Form):
            raise UserError(f"form={form!r} must be one of {', '.join(Form)}.")
        return str(self.assistant.export(Form(form), self.folder)[0])

    def _threshold(self, threshold: float | None) -> float:
        """The threshold that counts.

        Raises:
            UserError: If it is no number, or nothing that the page's slider offers.
        """
        scale = self.assistant.range
        if threshold is None:
            return scale.start
        if not isinstance(threshold, int | float) or not scale.low <= threshold <= scale.high:
            raise UserError(f"threshold={threshold!r} must be a number from {scale.low:.4g} to {scale.high:.4g}.")
        return threshold

    def _take(self, file: str | None) -> list[Upload]:
        if not file:
            raise UserError("No photo was given. Hand one in.")
        taken = take_uploads([Path(file)], self.assistant.bounds)
        if taken.refused:
            raise UserError(taken.refused[0])
        return taken.uploads

    def _look(self, file: str | None) -> Session:
        photos = [one for batch in self.assistant.inspect(self._take(file)) for one in batch]
        if not photos[0].is_readable:
            raise UserError(photos[0].found.row.error)
        return Session(photos=photos, shown=0)


def _read_mask(path: Path) -> MaskArray:
    """A mask that was handed in.

    Raises:
        UserError: If it does not decode, or is a picture and no mask.
    """
    try:
        levels = decode_levels(path)
    except UserError as error:
        raise UserError(about(str(error), path)) from error
    if len(values := np.unique(levels)) > 2:
        raise UserError(f"{brief(path.name)} is no mask: it holds {len(values)} values, not black and white alone.")
    return levels > 0
