"""The page, in Gradio: what is where on it, and which function answers which event. Nothing is decided here.

Other programs call the functions that have a name (`api_name`) by `gradio_client`; the events of the page have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from data.ddqa.wording import Task
from data.errors import UserError
from eval.assistant.assistant import Assistant
from eval.assistant.drawing import ON_LOAD, ON_SAVE, draw_canvas, read_drawing
from eval.assistant.service import Service
from eval.assistant.session import Session
from eval.assistant.uploads import take_uploads
from eval.assistant.views import View
from eval.assistant.words import (
    NO_WORDS,
    NOTHING_YET,
    ONE_BY_ONE,
    caption,
    list_regions,
    list_turns,
    say_notices,
    say_verdict,
)
from eval.inspection.inspector import Inspected
from eval.judgements.export import Form
from eval.judgements.judgement import Finding

OPACITY = 0.8
EMPTY = np.full((60, 80, 3), 200, np.uint8)  # the small picture of a photo that cannot be read
SHORTCUTS = {"Any defect?": Task.AD, "Where?": Task.RDL, "Which kind?": Task.DC, "Box?": Task.DFM}
BUTTONS = {"Accept": Finding.accepted, "Wrong class": Finding.wrong_class, "Fine after all": Finding.fine}
FORMS = {"MVTec layout": Form.mvtec, "COCO": Form.coco, "DDQA rows": Form.ddqa}
Updates = dict[Any, Any]
EVENT: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 8}  # the model's lock keeps order


class Page:
    """The page of one assistant.

    Args:
        assistant: What answers.
        folder: Where exports are written to.
        user: Who judges, unless the page is told otherwise.

    Attributes:
        blocks: Gradio's own object, to be launched.
    """

    def __init__(self, assistant: Assistant, folder: Path, user: str) -> None:
        self.assistant, self.folder, self.user = assistant, folder, user
        with gr.Blocks(title="EIAD", analytics_enabled=False, delete_cache=(3600, 86400)) as self.blocks:
            self._lay_out()
            self._connect()
            self._offer(Service(assistant, folder, user))

    def _lay_out(self) -> None:
        """What is where: photo and its controls on the left, what is said about it on the right."""
        inspector = self.assistant.inspector
        source = f"{inspector.source.name} {inspector.source.category}".strip()
        self.session = gr.State()
        gr.Markdown(f"# EIAD\nPhotos are looked at by {source} on this machine, and stay here.", elem_id="title")
        self.notice = gr.HTML(say_notices(self.assistant.greet()), elem_id="notice")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self._lay_out_photo()
            with gr.Column(scale=2, min_width=320):
                self.verdict = gr.HTML(NOTHING_YET, elem_id="verdict")
                self.defects = gr.Radio(label="Defects: choose one to outline it", visible=False, elem_id="defects")
                self._lay_out_talk()
                self._lay_out_judging()

    def _lay_out_photo(self) -> None:
        scale = self.assistant.range
        self.files = gr.File(label="Drop photos here", file_count="multiple", height=120, elem_id="files")
        self.gallery = gr.Gallery(
            label=f"Photos, at the threshold {scale.start:.3g}", columns=4, height=200, allow_preview=False,
            visible=False, elem_id="photos", interactive=False, buttons=[],
        )  # fmt: skip
        self.next = gr.Button("Most uncertain next", elem_id="next", visible=False, size="sm")
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
        for slider in (self.opacity, self.threshold):
            _clamp(slider)
        self.count = gr.HTML(self._count(scale.start), elem_id="count")
        self.seen = gr.Number(scale.start, visible=False)  # the threshold of the verdict that the person looks at

    def _lay_out_talk(self) -> None:
        has_words = self.assistant.eddm is not None
        gr.HTML(NO_WORDS, visible=not has_words)
        gr.HTML(ONE_BY_ONE, visible=self.assistant.asks_alone)
        with gr.Column(visible=has_words):
            self.talk = gr.Chatbot(
                label="Conversation", height=260, render_markdown=False, buttons=[], elem_id="talk",
                placeholder="Ask about the photo.", feedback_options=None, allow_file_downloads=False,
            )  # fmt: skip
            with gr.Row():
                self.shortcuts = [gr.Button(text, size="sm", min_width=80) for text in SHORTCUTS]
            with gr.Row():
                self.question = gr.Textbox(
                    show_label=False, placeholder="Your question", scale=4, elem_id="question", max_lines=3
                )
                self.ask = gr.Button("Ask", size="sm", scale=1, min_width=60, elem_id="ask")

    def _lay_out_judging(self) -> None:
        with gr.Group(elem_id="judging"):
            with gr.Row():
                self.name = gr.Dropdown(
                    self.assistant.names(), label="Right class", allow_custom_value=True, value="", elem_id="name"
                )
                self.judge = gr.Textbox(self.user, label="Your name", max_lines=1)
            with gr.Row():
                self.judgements = [gr.Button(text, size="sm", min_width=80) for text in BUTTONS]
                self.redraw = gr.Button("Redraw the mask", size="sm", min_width=80)
        with gr.Column(visible=False) as self.drawing:
            self.canvas = gr.HTML(js_on_load=ON_LOAD, elem_id="canvas")
            self.sent = gr.Textbox(visible=False)
            with gr.Row():
                self.save = gr.Button("Save the mask", size="sm", elem_id="save")
                self.leave = gr.Button("Leave it", size="sm")
        with gr.Accordion("Export what was judged", open=False, elem_id="export"):
            with gr.Row():
                self.exports = [gr.Button(text, size="sm", min_width=80) for text in FORMS]
            self.exported = gr.File(label="Export", visible=False, elem_id="exported")

    def _connect(self) -> None:
        """Which function answers which event."""
        shown = [self.session, self.kind, self.opacity, self.threshold]
        photo = [self.view, self.verdict, self.defects, self.count, self.notice, self.seen]
        everything = [self.session, self.gallery, self.next, self.files, self.talk, self.drawing, self.name, *photo]
        quiet: dict[str, Any] = {**EVENT, "show_progress": "hidden", "trigger_mode": "always_last"}
        self.files.upload(self._drop, [self.files, *shown], everything, **EVENT)
        self.gallery.select(self._choose, shown, everything, **EVENT)
        self.next.click(self._next, shown, everything, **EVENT)
        for control in (self.kind, self.opacity):
            control.change(self._redraw, [*shown, self.defects], [self.view, self.notice], **quiet)
        self.threshold.change(self._decide, shown, photo, **quiet)
        self.defects.input(self._redraw, [*shown, self.defects], [self.view, self.notice], **quiet)
        said = [self.session, self.talk, self.question, self.notice]
        for event in (self.question.submit, self.ask.click):
            event(self._told(self._ask), [self.session, self.question], said, show_progress_on=self.talk, **EVENT)
        for button, task in zip(self.shortcuts, SHORTCUTS.values(), strict=True):
            button.click(self._told(self._asking(task)), [self.session], said, show_progress_on=self.talk, **EVENT)
        judged = [*shown, self.seen, self.name, self.judge, self.defects]
        for button, finding in zip(self.judgements, BUTTONS.values(), strict=True):
            button.click(self._told(self._judging(finding)), judged, everything, **EVENT)
        drawn = [self.drawing, self.canvas, self.notice]
        self.redraw.click(self._told(self._open_editor), [self.session, self.seen], drawn, **EVENT)
        self.save.click(self._told(self._save), [*judged, self.sent], everything, js=ON_SAVE, **EVENT)
        self.leave.click(lambda: gr.Column(visible=False), None, self.drawing, **EVENT)
        for button, form in zip(self.exports, FORMS.values(), strict=True):
            button.click(self._told(self._exporting(form)), None, [self.exported, self.notice], **EVENT)

    def _offer(self, service: Service) -> None:
        """What other programs may call."""
        with gr.Row(visible=False):
            file, mask, packed = gr.File(label="photo"), gr.File(label="mask"), gr.File(label="zip")
            threshold, said, view = gr.Number(None, label="threshold"), gr.JSON(label="row"), gr.Image(format="png")
            texts = [gr.Textbox(label=name) for name in ("question", "finding", "name", "user", "form", "answer")]
            history, number, button = gr.JSON(label="history"), gr.Number(label="number"), gr.Button()
        question, finding, name, user, form, answer = texts
        for call, given, returned, words in (
            (service.inspect, [file, threshold], [said, view], "What is decided about a photo, and it, outlined."),
            (service.ask, [file, question, history], [answer], "An answer about a photo."),
            (service.judge, [file, finding, name, user, mask, threshold], [number], "Adds a judgement to the log."),
            (service.export, [form], [packed], "The log as a ZIP file: mvtec, coco or ddqa."),
        ):
            button.click(
                _plainly(call), given, returned, api_name=call.__name__, api_description=words, concurrency_limit=8
            )

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
            session.shown = first
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
        return self._quietly(self._show_photo(session or Session(), kind, opacity, threshold, []))

    def _redraw(
        self, session: Session | None, kind: str, opacity: float, threshold: float, chosen: int | None
    ) -> Updates:
        session = session or Session()
        decided = session.decided(self.assistant, threshold)
        if decided is None:
            return {self.view: None}
        return self._quietly(self._draw(session, decided, kind, opacity, chosen))

    def _quietly(self, updates: Updates) -> Updates:
        """Leaves a notice where it is, unless there is a new one: a click's answer may stand there."""
        return {part: value for part, value in updates.items() if part is not self.notice or value}

    def _ask(self, session: Session | None, question: str) -> Updates:
        return {**self._answer(session, question), self.question: ""}

    def _asking(self, task: Task) -> Callable[[Session | None], Updates]:
        return lambda session: self._answer(session, task)

    def _answer(self, session: Session | None, question: str | Task) -> Updates:
        session = session or Session()
        dialogue = session.talk(self.assistant)
        self.assistant.ask(dialogue, question)
        return {self.session: session, self.talk: list_turns(session.turns()), self.notice: ""}

    def _judging(self, finding: Finding) -> Callable[..., Updates]:
        def judge(
            session: Session | None,
            kind: str,
            opacity: float,
            threshold: float,
            seen: float,
            name: str,
            user: str,
            chosen: int | None,
        ) -> Updates:
            region = chosen if chosen is not None and chosen >= 0 else None
            said = {"name": name or "", "user": user, "chosen": region}
            return self._judge(session, kind, opacity, threshold, seen, finding, **said)

        return judge

    def _judge(
        self, session: Session | None, kind: str, opacity: float, threshold: float, seen: float, finding: Finding,
        **said: Any,
    ) -> Updates:  # fmt: skip
        """Judges what was decided at the threshold that the person saw, wherever the slider is by now."""
        session = session or Session()
        number = session.judge(self.assistant, seen, finding, **said)
        line = f"Judgement {number}: {finding.value.replace('_', ' ')}, kept in {self.assistant.log.folder}."
        return {
            **self._show(session, kind, opacity, threshold, [line]),
            self.name: gr.Dropdown(self.assistant.names(), value="", allow_custom_value=True),
        }

    def _open_editor(self, session: Session | None, seen: float) -> Updates:
        session = session or Session()
        decided = session.decided(self.assistant, seen)
        if decided is None or decided.mask is None:
            raise UserError("There is no photo to draw on: drop one first, or choose one that can be read.")
        canvas = draw_canvas(session.picture, decided.mask)
        return {self.drawing: gr.Column(visible=True), self.canvas: canvas, self.notice: ""}

    def _save(self, session: Session | None, *values: Any) -> Updates:
        kind, opacity, threshold, seen, name, user, _, sent = values
        session = session or Session()
        drawn = read_drawing(sent, session.seen.found.row.size) if session.seen is not None else None
        said = {"name": name or "", "user": user, "drawn": drawn}
        return self._judge(session, kind, opacity, threshold, seen, Finding.redrawn, **said)

    def _exporting(self, form: Form) -> Callable[[], Updates]:
        def export() -> Updates:
            packed, words = self.assistant.export(form, self.folder)
            return {self.exported: gr.File(str(packed), visible=True), self.notice: say_notices(words.splitlines())}

        return export

    def _told(self, call: Callable[..., Updates]) -> Callable[..., Updates]:
        """Says on the page what a user did wrong; everything else there stays as it is."""

        def told(*values: Any) -> Updates:
            try:
                return call(*values)
            except UserError as error:
                return {self.notice: say_notices([str(error)])}

        return told

    def _show(
        self, session: Session, kind: str, opacity: float, threshold: float, lines: Sequence[str] = ()
    ) -> Updates:
        """Everything, after photos came, another one was chosen, or one was judged."""
        pictures = [
            (one.thumbnail or EMPTY, caption(one.upload.name, one.found.row, session.judged.get(index)))
            for index, one in enumerate(session.photos)
        ]
        return {
            self.session: session,
            self.gallery: gr.Gallery(pictures, selected_index=session.shown, visible=bool(pictures)),
            self.next: gr.Button(visible=len(pictures) > 1),
            self.talk: list_turns(session.turns()),
            self.drawing: gr.Column(visible=False),
            self.name: gr.Dropdown(value="", allow_custom_value=True),  # it was about another photo
            **self._show_photo(session, kind, opacity, threshold, lines),
        }

    def _show_photo(
        self, session: Session, kind: str, opacity: float, threshold: float, lines: Sequence[str]
    ) -> Updates:
        seen, decided = session.seen, session.decided(self.assistant, threshold)
        said: Updates = {self.count: self._count(threshold), self.notice: say_notices(lines), self.seen: threshold}
        if seen is None or decided is None:
            verdict = say_verdict(seen.found.row, seen.upload.name) if seen is not None else NOTHING_YET
            return {**said, self.view: None, self.verdict: verdict, self.defects: gr.Radio([], visible=False)}
        choices = list_regions(decided.row.regions)
        return {
            **said,
            self.verdict: say_verdict(decided.row, seen.upload.name),
            self.defects: gr.Radio(choices, value=-1 if choices else None, visible=bool(choices)),
            **self._draw(session, decided, kind, opacity, None, lines),
        }

    def _draw(
        self, session: Session, decided: Inspected, kind: str, opacity: float, chosen: int | None,
        lines: Sequence[str] = (),
    ) -> Updates:  # fmt: skip
        region = None if chosen is None or not 0 <= chosen < len(decided.row.regions) else chosen
        try:
            view = session.draw(self.assistant, decided, View(kind), opacity, region)
        except UserError as error:
            return {self.view: None, self.notice: say_notices([*lines, str(error)])}
        return {self.view: view, self.notice: say_notices(lines)}

    def _count(self, threshold: float) -> str:
        return f"<p aria-live='polite'>{self.assistant.count_alarms(threshold)}</p>"


def _clamp(slider: gr.Slider) -> None:
    """Anything may be typed beside a slider: what lies beyond an end is the end, and nothing is where it began."""
    low, high, start = slider.minimum, slider.maximum, slider.value

    def preprocess(payload: float | None) -> float:
        return min(max(start if payload is None else payload, low), high)

    slider.preprocess = preprocess


def _plainly(call: Callable[..., Any]) -> Callable[..., Any]:
    """Sends what a user did wrong to the other program, as its message."""

    @wraps(call)
    def told(*values: Any) -> Any:
        try:
            return call(*values)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return told
