"""What the page can do, without the page: looking at photos, deciding again, and which photo to look at next.

One model serves all tabs: whoever needs it holds the one lock, for one batch of photos or one answer at a time.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from data.ddqa.wording import Task
from data.errors import UserError
from data.sample import MaskArray
from eval.assistant.config import AppConfig
from eval.assistant.uploads import Bounds, Upload, about
from eval.assistant.views import THUMBNAIL, fit
from eval.inspection.decision import Verdict
from eval.inspection.inspector import Inspected, Inspector, load_inspector
from eval.inspection.photos import Photo
from eval.judgements.export import ExportConfig, Form, export_judgements
from eval.judgements.judgement import Judgement
from eval.judgements.log import JudgementLog
from models.chat.answers import plain_text
from models.chat.conversation import turns_of
from models.eddm.dialogue import Dialogue
from models.eddm.eddm import EDDM

STEPS = 200  # of the threshold's slider


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A photo that was looked at.

    Attributes:
        upload: The file.
        found: What was seen and decided at the threshold that the page begins with; without pixels and mask, which are
            made anew for the photo that is shown.
        thumbnail: File of its small picture; None where there is nothing to see.
    """

    upload: Upload
    found: Inspected
    thumbnail: Path | None

    @property
    def is_readable(self) -> bool:
        """Whether there was something to look at."""
        return self.found.look is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The slider of the threshold, in units of the score.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        start: Where it begins.
        step: From one place to the next.
    """

    low: float
    high: float
    start: float
    step: float


class Assistant:
    """A model and what people do with it; for many threads.

    Args:
        inspector: Looks and decides; it names no classes.
        config: How much may be handed in.
    """

    def __init__(self, inspector: Inspector, config: AppConfig) -> None:
        self.inspector, self.config = inspector, config
        self.bounds = Bounds(photos=config.photos, megapixels=config.megapixels, megabytes=config.megabytes)
        self.range = find_range(inspector)
        self.log = JudgementLog(Path(config.judgements))
        self.eddm: EDDM | None = getattr(inspector.source, "eddm", None)
        self._model = threading.Lock()

    @property
    def asks_alone(self) -> bool:
        """Whether there is somebody to talk to who sees one question at a time."""
        return self.eddm is not None and turns_of(self.eddm.chat) == 0

    def inspect(self, uploads: Sequence[Upload]) -> Iterator[list[Seen]]:
        """Looks at photos; yields them a batch at a time, and lets others have the model in between."""
        size = self.inspector.config.batch_size
        for start in range(0, len(uploads), size):
            batch = uploads[start : start + size]
            photos = [Photo(upload.name, upload.path) for upload in batch]
            with self._model:
                found = list(self.inspector.inspect(photos))
            yield [_keep(upload, one) for upload, one in zip(batch, found, strict=True)]

    def talk(self, photo: Path) -> Dialogue:
        """Begins a conversation about a photo; it is opened with the first question.

        Raises:
            UserError: If nobody is there to talk to.
        """
        if self.eddm is None:
            raise UserError("Nobody is there to answer: only a run or an export with an EDDM has words.")
        return Dialogue(self.eddm, photo)

    def ask(self, dialogue: Dialogue, question: str | Task) -> str:
        """Asks a question in one's own words, or one of DDQA's four; it becomes a turn of the conversation.

        Raises:
            UserError: If the question is empty or too long, or no answer came.
        """
        with self._model:
            answer = dialogue.ask_task(question) if isinstance(question, Task) else dialogue.ask(question)
        return plain_text(answer)

    def names(self) -> list[str]:
        """Classes to choose from: those that EDDM was taught, and those that people wrote, in order."""
        written = {region.name for judgement in self.log for region in judgement.regions}
        return sorted({*(self.eddm.defects if self.eddm is not None else ()), *written} - {""})

    def judge(self, judgement: Judgement, seen: Seen, mask: MaskArray | None) -> int:
        """Adds a judgement to the log; returns its number.

        Raises:
            UserError: If it cannot be added: nothing of it is then.
        """
        return self.log.append(judgement, seen.upload.path, mask)

    def export(self, form: Form, folder: Path) -> tuple[Path, str]:
        """Exports the log as one ZIP file in a folder; returns it, and what is in it in words.

        Raises:
            UserError: If there is nothing to export.
        """
        out = Path(tempfile.mkdtemp(prefix="export-", dir=folder)) / f"judgements_{form.value}"
        config = ExportConfig(log=str(self.log.folder), form=form, out=str(out))
        config.product = self.inspector.source.category or config.product
        exported = export_judgements(config)
        packed = Path(shutil.make_archive(str(out), "zip", out))
        shutil.rmtree(out)
        return packed, exported.describe().replace(f"\nwrote {out}", "")

    def greet(self) -> list[str]:
        """What whoever opens the page must know."""
        models = self.log.models()
        others = sum(models.values()) - models.get(self.inspector.source.key, 0)
        lines = []
        if not self.log.is_writable:
            lines.append(f"Judgements cannot be kept: {self.log.folder} may only be read. Give another judgements=.")
        if not others:
            return lines
        return [
            *lines,
            f"{others} of the {sum(models.values())} judgements in {self.log.folder} are of another model's verdicts. "
            "They stay there and are exported, too: what people said of a photo holds whatever model had looked at it.",
        ]

    def decide(self, seen: Seen, threshold: float) -> Inspected:
        """What is decided about a photo at another threshold; the outline's moves along in proportion."""
        limits = self.inspector.limits
        threshold = self.exactly(threshold)
        scale = threshold / limits.score if limits.score > 0 else 1.0
        return self.inspector.decide_again(seen.found, score=threshold, pixel=limits.pixel * scale)

    def exactly(self, threshold: float) -> float:
        """A slider's value; the one that it began with, where it stands there but for rounding."""
        return self.range.start if abs(threshold - self.range.start) < self.range.step / 2 else threshold

    def count_alarms(self, threshold: float) -> str:
        """What a threshold does to the sound images that the model was calibrated on, in a sentence."""
        threshold = self.exactly(threshold)
        calibration = self.inspector.calibration
        if calibration is None:
            return f"Threshold {threshold:.4g}. Not calibrated: which rate of false alarms it stands for is not known."
        flagged = calibration.flagged_at(threshold)
        if flagged is None:
            return f"Threshold {threshold:.4g}. Calibrate again to see how many sound images it flags."
        sound = len(calibration.sound)
        return (
            f"Threshold {threshold:.4g} flags {flagged} of the {sound} sound images of the calibration "
            f"({100 * flagged / sound:.1f} %)."
        )

    def order(self, photos: Sequence[Seen], threshold: float) -> list[int]:
        """Indices of photos, those first about which the decision is least certain.

        First the unsure ones, then by the distance of the score from the threshold. Those that cannot be read are last.
        """
        moved = self.exactly(threshold) != self.range.start
        rows = [(self.decide(one, threshold) if moved and one.is_readable else one.found).row for one in photos]

        def doubt(index: int) -> tuple[bool, bool, float]:
            verdict, score = rows[index].verdict, rows[index].score
            distance = abs(score - threshold) if score is not None else float("inf")
            return verdict is Verdict.unreadable, verdict is not Verdict.unsure, distance

        return sorted(range(len(photos)), key=doubt)


def _keep(upload: Upload, found: Inspected) -> Seen:
    """A photo as it is kept in memory, under the name that the person knows, and its small picture beside the file."""
    row = replace(found.row, error=about(found.row.error, upload.path))
    thumbnail = None
    if found.image is not None:
        thumbnail = upload.path.with_name(f"{upload.image_hash}.thumbnail.jpg")
        cv2.imwrite(str(thumbnail), fit(found.image, THUMBNAIL)[..., ::-1])
    return Seen(upload=upload, found=replace(found, row=row, image=None, mask=None), thumbnail=thumbnail)


def find_range(inspector: Inspector) -> Range:
    """The slider: 0..1 for probabilities; else from the least to beyond the greatest that is worth a thought."""
    start = inspector.limits.score
    sound = inspector.calibration.sound if inspector.calibration is not None else ()
    if inspector.source.bounded:
        low, high = 0.0, 1.0
    else:
        low = min([0.0, start, *sound[:1]])
        high = max([start + (start - low), *sound[-1:], low + 1e-6])
    return Range(low=low, high=high, start=start, step=(high - low) / STEPS)


def load_assistant(config: AppConfig) -> Assistant:
    """Loads the model.

    Raises:
        UserError: If settings do not go together, or something is missing, damaged or of another version.
    """
    config.check()
    return Assistant(load_inspector(config.inspection()), config)
