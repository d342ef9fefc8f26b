"""One tab: the photos that were handed in there, and which of them is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data.sample import ImageArray, load_image
from eval.assistant.assistant import Assistant, Seen
from eval.assistant.views import View, draw_view, fit
from eval.inspection.inspector import Inspected


@dataclass(slots=True)
class Session:
    """What one tab holds; nothing of it is another tab's.

    Attributes:
        photos: In the order in which they were handed in.
        shown: Index of the photo that is shown; None before there is one.
        done: Indices of photos that need no second look.
    """

    photos: list[Seen] = field(default_factory=list)
    shown: int | None = None
    done: set[int] = field(default_factory=set)
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
        return draw_view(self._load(), decided, view, opacity=opacity, top=top, chosen=chosen)

    def _load(self) -> ImageArray:
        """The pixels of the photo that is shown; of one photo at a time."""
        assert self.shown is not None and self.seen is not None
        if self._image is None or self._image[0] != self.shown:
            self._image = self.shown, fit(load_image(self.seen.upload.path))
        return self._image[1]
