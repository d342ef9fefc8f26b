"""The page, in Gradio: what is where on it, and which function answers which event. Nothing is decided here.

Other programs call the functions that have a name (`api_name`) by `gradio_client`; the events of the page have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from eval.assistant.assistant import Assistant
from eval.assistant.session import Session
from eval.assistant.uploads import take_uploads
from eval.assistant.views import View
from eval.assistant.words import NOTHING_YET, caption, list_regions, say_notices, say_verdict
from eval.inspection.inspector import Inspected
from eval.inspection.rows import to_json

OPACITY = 0.8
EMPTY = np.full((60, 80, 3), 200, np.uint8)  # the small picture of a photo that cannot be read
HIDDEN = ("image", "key", "mask", "overlay", "thumbnail")  # of a row: paths, and what was not written
Updates = dict[Any, Any]
EVENT: dict[str, Any] = {
    "api_visibility": "private",
    "concurrency_limit": 8,
}  # of the page itself: the model's lock keeps order


class Page:
    """The page of one assistant.

    Args:
        assistant: What answers.

    Attributes:
        blocks: Gradio's own object, to be launched.
    """

    def __init__(self, assistant: Assistant) -> None:
        self.assistant = assistant
        with gr.Blocks(title="EIAD", analytics_enabled=False, delete_cache=(3600, 86400)) as self.blocks:
            self._lay_out()
            self._connect()
            self._offer()

    def _lay_out(self) -> None:
        """What is where: photo and its controls on the left, what is said about it on the right."""
        assistant, scale = self.assistant, self.assistant.range
        inspector = assistant.inspector
        source = f"{inspector.source.name} {inspector.source.category}".strip()
        self.session = gr.State()
        gr.Markdown(f"# EIAD\nPhotos are looked at by {source} on this machine, and stay here.", elem_id="title")
        self.notice = gr.HTML(elem_id="notice")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self.files = gr.File(
                    label="Drop photos here", file_count="multiple", height=120, elem_id="files", type="filepath"
                )
                self.gallery = gr.Gallery(
                    label="Photos", columns=5, height=190, allow_preview=False, visible=False, elem_id="photos",
                    interactive=False, buttons=[],
                )  # fmt: skip
                self.view = gr.Image(
                    label="Photo", show_label=False, interactive=False, height=460, elem_id="view", format="png",
                    buttons=["fullscreen"],
                )  # fmt: skip
                with gr.Row():
                    self.kind = gr.Radio([one.value for one in View], value=View.contour.value, label="Show", scale=2)
                    self.opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity", buttons=[], elem_id="opacity")
                self.threshold = gr.Slider(
                    scale.low, scale.high, scale.start, step=scale.step, label="Threshold", elem_id="threshold"
                )
                self.count = gr.HTML(self._count(scale.start), elem_id="count")
            with gr.Column(scale=2, min_width=320):
                self.verdict = gr.HTML(NOTHING_YET, elem_id="verdict")
                self.defects = gr.Radio(label="Defects: choose one to outline it", visible=False, elem_id="defects")
                self.next = gr.Button("Most uncertain next", elem_id="next", visible=False)

    def _connect(self) -> None:
        """Which function answers which event."""
        shown = [self.session, self.kind, self.opacity, self.threshold]
        photo = [self.view, self.verdict, self.defects, self.count, self.notice]
        everything = [self.session, self.gallery, self.next, self.files, *photo]
        quiet: dict[str, Any] = {**EVENT, "show_progress": "hidden", "trigger_mode": "always_last"}
        self.files.upload(self._drop, [self.files, *shown], everything, **EVENT)
        self.gallery.select(self._choose, shown, everything, **EVENT)
        self.next.click(self._next, shown, everything, **EVENT)
        for control in (self.kind, self.opacity):
            control.change(self._redraw, [*shown, self.defects], [self.view, self.notice], **quiet)
        self.threshold.change(self._decide, shown, photo, **quiet)
        self.defects.input(self._redraw, [*shown, self.defects], [self.view, self.notice], **quiet)

    def _offer(self) -> None:
        """What other programs may call."""
        with gr.Row(visible=False):
            file, threshold = gr.File(label="photo"), gr.Number(None, label="threshold")
            said, view, button = gr.JSON(label="row"), gr.Image(label="overlay", format="png"), gr.Button()
        button.click(
            self.inspect, [file, threshold], [said, view], api_name="inspect", concurrency_limit=8,
            api_description="Looks at a photo: what is decided about it, and the photo with its defects outlined.",
        )  # fmt: skip

    def inspect(self, file: str | None, threshold: float | None = None) -> tuple[dict[str, Any], NDArray[Any]]:
        """Looks at one photo; of no tab.

        Args:
            file: Where it lies here.
            threshold: Of the decision; None is the page's own.

        Returns:
            The row, as `results.jsonl` of `scripts.inspect` holds it, without paths; and the picture.
        """
        session = Session()
        with _told():
            if not file:
                raise UserError("No photo was given.")
            taken = take_uploads([Path(file)], self.assistant.bounds)
            if taken.refused:
                raise UserError(taken.refused[0])
            session.photos = [one for batch in self.assistant.inspect(taken.uploads) for one in batch]
            session.shown = 0
            wanted = self.assistant.range.start if threshold is None else threshold
            decided = session.decided(self.assistant, wanted)
            if decided is None:
                raise UserError(session.photos[0].found.row.error)
            view = session.draw(self.assistant, decided, View.contour, 1.0)
        row = json.loads(json.dumps(to_json(decided.row)))  # a box is a list there
        return {name: value for name, value in row.items() if name not in HIDDEN}, view

    def _drop(
        self, files: list[str] | None, session: Session | None, kind: str, opacity: float, threshold: float
    ) -> Iterator[Updates]:
        """Looks at photos that were dropped, and shows them as they come."""
        session = session or Session()
        paths = [Path(file) for file in files or []]
        taken = take_uploads(paths, self.assistant.bounds, known=session.hashes, pixels=session.pixels)
        lines = [*taken.refused]
        if taken.copies:
            lines.append(f"{taken.copies} of the files were there already.")
        first = len(session.photos)
        for seen in self.assistant.inspect(taken.uploads):
            session.photos += seen
            lines += [one.found.row.error for one in seen if not one.is_readable]
            left = len(taken.uploads) - len(session.photos) + first
            told = [*lines, f"{left} photos are still being looked at."] if left else lines
            session.shown = first if len(session.photos) > first else session.shown
            yield self._show(session, kind, opacity, threshold, told)
        yield {**self._show(session, kind, opacity, threshold, lines), self.files: None}

    def _choose(
        self, session: Session | None, kind: str, opacity: float, threshold: float, event: gr.SelectData
    ) -> Updates:
        session = session or Session()
        if isinstance(event.index, int) and event.index < len(session.photos):
            session.shown = event.index
        return self._show(session, kind, opacity, threshold)

    def _next(self, session: Session | None, kind: str, opacity: float, threshold: float) -> Updates:
        """Shows the photo about which the decision is least certain, of those that were not shown this way yet."""
        session = session or Session()
        fresh = session.go_on(self.assistant.order(session.photos, threshold))
        lines = [] if fresh else ["All photos were shown; this is the first one again."]
        return self._show(session, kind, opacity, threshold, lines)

    def _decide(self, session: Session | None, kind: str, opacity: float, threshold: float) -> Updates:
        return self._show_photo(session or Session(), kind, opacity, threshold, [])

    def _redraw(
        self, session: Session | None, kind: str, opacity: float, threshold: float, chosen: int | None
    ) -> Updates:
        session = session or Session()
        decided = session.decided(self.assistant, threshold)
        if decided is None:
            return {self.view: None}
        return self._draw(session, decided, kind, opacity, chosen)

    def _show(
        self, session: Session, kind: str, opacity: float, threshold: float, lines: list[str] | None = None
    ) -> Updates:
        """Everything, after photos came or another one was chosen."""
        pictures = [(one.thumbnail or EMPTY, caption(one.upload.name, one.found.row)) for one in session.photos]
        return {
            self.session: session,
            self.gallery: gr.Gallery(pictures, selected_index=session.shown, visible=bool(pictures)),
            self.next: gr.Button(visible=len(pictures) > 1),
            **self._show_photo(session, kind, opacity, threshold, lines or []),
        }

    def _show_photo(self, session: Session, kind: str, opacity: float, threshold: float, lines: list[str]) -> Updates:
        seen, decided = session.seen, session.decided(self.assistant, threshold)
        said: Updates = {self.count: self._count(threshold), self.notice: say_notices(lines)}
        if seen is None or decided is None:
            verdict = say_verdict(seen.found.row) if seen is not None else NOTHING_YET
            return {**said, self.view: None, self.verdict: verdict, self.defects: gr.Radio([], visible=False)}
        choices = list_regions(decided.row.regions)
        return {
            **said,
            self.verdict: say_verdict(decided.row),
            self.defects: gr.Radio(choices, value=-1 if choices else None, visible=bool(choices)),
            **self._draw(session, decided, kind, opacity, None, lines),
        }

    def _draw(
        self,
        session: Session,
        decided: Inspected,
        kind: str,
        opacity: float,
        chosen: int | None,
        lines: Sequence[str] = (),
    ) -> Updates:
        region = None if chosen is None or not 0 <= chosen < len(decided.row.regions) else chosen
        try:
            view = session.draw(self.assistant, decided, View(kind), opacity, region)
        except UserError as error:
            return {self.view: None, self.notice: say_notices([*lines, str(error)])}
        return {self.view: view, self.notice: say_notices(lines)}

    def _count(self, threshold: float) -> str:
        return f"<p aria-live='polite'>{self.assistant.count_alarms(threshold)}</p>"


@contextmanager
def _told() -> Iterator[None]:
    """Sends what a user did wrong to the other program, as its message."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
