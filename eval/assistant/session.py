"""One tab: the photos that were handed in there, and which of them is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from data.errors import UserError
from data.sample import ImageArray, load_image
from eval.assistant.assistant import Assistant, Seen
from eval.assistant.judging import make_judgement
from eval.assistant.views import View, draw_view, fit
from eval.inspection.inspector import Inspected
from eval.judgements.judgement import Finding
from models.chat.protocol import Turn
from models.eddm.dialogue import Dialogue


@dataclass(slots=True)
class Session:
    """What one tab holds; nothing of it is another tab's.

    Attributes:
        photos: In the order in which they were handed in.
        shown: Index of the photo that is shown; None before there is one.
        done: Indices of photos that need no second look.
        talks: Index of a photo → the conversation about it.
        judged: Index of a photo → what was said of it last.
    """

    photos: list[Seen] = field(default_factory=list)
    shown: int | None = None
    done: set[int] = field(default_factory=set)
    talks: dict[int, Dialogue] = field(default_factory=dict)
    judged: dict[int, Finding] = field(default_factory=dict)
    _image: tuple[int, ImageArray] | None = None

    @property
    def seen(self) -> Seen | None:
        """The photo that is shown."""
        return self.photos[self.shown] if self.shown is not None else None

    @property
    def hashes(self) -> list[str]:
        """The hashes of the photos."""
        return [one.upload.image_hash for one in self.photos]

    @property
    def pixels(self) -> int:
        """Number of the photos' pixels."""
        return sum(one.upload.pixels for one in self.photos)

    def decided(self, assistant: Assistant, threshold: float) -> Inspected | None:
        """What is decided about the photo that is shown; None where there is nothing to see."""
        seen = self.seen
        return assistant.decide(seen, threshold) if seen is not None and seen.is_readable else None

    def talk(self, assistant: Assistant) -> Dialogue:
        """The conversation about the photo that is shown.

        Raises:
            UserError: If there is no photo, or nobody to talk to.
        """
        if self.shown is None or self.seen is None:
            raise UserError("Drop a photo first: questions are about the one that is shown.")
        if not self.seen.is_readable:
            raise UserError("This photo cannot be read: there is nothing to ask about.")
        if self.shown not in self.talks:
            self.talks[self.shown] = assistant.talk(self.seen.upload.path)
        return self.talks[self.shown]

    def turns(self) -> list[Turn]:
        """What was asked and answered about the photo that is shown."""
        talk = self.talks.get(self.shown) if self.shown is not None else None
        return list(talk.turns) if talk is not None else []

    def judge(self, assistant: Assistant, threshold: float, finding: Finding, **values: Any) -> int:
        """Adds a judgement about the photo that is shown; returns its number. See `make_judgement` for the values.

        Raises:
            UserError: If there is no verdict to judge, or the judgement cannot be added.
        """
        seen, decided = self.seen, self.decided(assistant, threshold)
        if self.shown is None or seen is None or decided is None:
            raise UserError("There is no verdict to judge: drop a photo first, or choose one that can be read.")
        source = assistant.inspector.source
        judgement, mask = make_judgement(seen, decided, finding, model=source.key, category=source.category, **values)
        number = assistant.judge(judgement, seen, mask)
        self.judged[self.shown] = finding
        self.done.add(self.shown)
        return number

    def go_on(self, order: Sequence[int]) -> bool:
        """Shows the first photo of an order that was not gone on from yet; False where all were, and it begins anew."""
        if self.shown is not None:
            self.done.add(self.shown)
        left = [index for index in order if index not in self.done]
        if not left:
            self.done.clear()
        self.shown = next(iter(left or order), None)
        return bool(left)

    def draw(
        self, assistant: Assistant, decided: Inspected, view: View, opacity: float, chosen: int | None = None
    ) -> ImageArray:
        """The picture of the photo that is shown; see `draw_view`.

        Raises:
            UserError: If its file is gone.
        """
        top = assistant.inspector.limits.top
        return draw_view(self.picture, decided, view, opacity=opacity, top=top, chosen=chosen)

    @property
    def picture(self) -> ImageArray:
        """The photo that is shown, (H, W, 3) uint8 RGB, no larger than a view; kept for one photo at a time.

        Raises:
            UserError: If its file is gone.
        """
        assert self.shown is not None and self.seen is not None
        if self._image is None or self._image[0] != self.shown:
            self._image = self.shown, fit(load_image(self.seen.upload.path))
        return self._image[1]
