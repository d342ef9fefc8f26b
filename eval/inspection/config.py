"""What `scripts.inspect` is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from data.errors import UserError
from eval.inspection.sources import SourceConfig
from models.chat.config import ChatConfig
from models.velm.classify import ChoiceMode
from models.velm.prompt import PromptConfig

EDDM = "eddm"


class Overlay(StrEnum):
    """What an overlay shows: the red outline, the anomaly map as heat, or both."""

    contour = "contour"
    heat = "heat"
    both = "both"


class Pictures(StrEnum):
    """Of which photos masks and overlays are written: those that are not `ok`, all, or none."""

    flagged = "flagged"
    all = "all"
    none = "none"


@dataclass(kw_only=True, slots=True)
class InspectConfig(SourceConfig):
    """What is inspected, by whom, and what is written; fields that are not listed are those of `SourceConfig`.

    Attributes:
        images: A file, a folder, or a pattern.
        out: Folder of the results.
        threshold: A photo is flagged if its score is at or above it; None takes the calibration's, else the expert's
            gate, else 0.5 of a probability.
        pixel_threshold: Map values at or above it are a defect region; None likewise.
        doubt: How far EDDM's answer outweighs a score that it contradicts: from a share of the threshold below it to
            as great a share of what is left above it, the photo is `unsure`; 0 leaves the score alone to decide.
        min_area: Regions smaller than this share of the image are specks.
        line_width: Width of the outline as a share of the longer side.
        overlay: What the overlay shows.
        pictures: Of which photos masks and overlays are written; of a single photo always.
        coco: Writes `coco.json`, polygons in COCO's form.
        labelme: Writes one labelme file a photo.
        classes: Class descriptions (`data/classes/template.yaml`); with them a language model names each region.
        policy: What to do with each class (`data/classes/policies/template.yaml`); needs `classes`.
        mllm: Who names the classes: `eddm` (the default where there is one), a checkpoint folder, a hub id, or a
            server's name of a model. Beside `expert=`, `run=` may give the EDDM.
        chat: How `mllm` is run, unless it is `eddm`.
        choice: How a class is chosen.
        prompt: What the model is given.
        reference: A sound photo to compare with; empty shows none.
        most_named: Regions of a photo that are named, the largest first; the others are `unknown`.
        familiar: Warns of photos that look like nothing the model was trained on.
        batch_size: Photos looked at together.
        workers: Threads that decode, draw and write.
        resume: Keeps what an earlier run of the same settings has found.
    """

    images: str
    out: str = "outputs/inspect"
    threshold: float | None = None
    pixel_threshold: float | None = None
    doubt: float = 0.5
    min_area: float = 0.0001
    line_width: float = 0.008
    overlay: Overlay = Overlay.contour
    pictures: Pictures = Pictures.flagged
    coco: bool = False
    labelme: bool = False
    classes: str = ""
    policy: str = ""
    mllm: str = ""
    chat: ChatConfig = field(default_factory=ChatConfig)
    choice: ChoiceMode = ChoiceMode.auto
    prompt: PromptConfig = field(default_factory=PromptConfig)
    reference: str = ""
    most_named: int = 4
    familiar: bool = True
    batch_size: int = 16
    workers: int = 2
    resume: bool = True

    @property
    def _lends_eddm(self) -> bool:
        """Whether the run only names what an expert finds."""
        return bool(self.expert and self.run and not self.export and self.classes)

    def check_source(self) -> None:
        """As `SourceConfig.check_source`, but that a run may stand beside an expert, to lend its EDDM."""
        if not self._lends_eddm:
            SourceConfig.check_source(self)

    def product(self, known: Sequence[str]) -> str:
        """As `SourceConfig.product`; with class descriptions `category` may be a name of theirs alone."""
        return known[0] if self.classes and len(known) == 1 else SourceConfig.product(self, known)

    def check(self) -> None:
        """Refuses what does not go together.

        Raises:
            UserError: Naming the values.
        """
        self.check_source()
        if self.mllm and not self.classes:
            raise UserError("mllm= names the classes of classes=FILE. Give that file, or leave mllm= out.")
        if self.classes and self.expert and not self.run and self.mllm in ("", EDDM):
            raise UserError("An expert names no classes. Give mllm=MODEL, or run=RUN for that run's EDDM.")
        if self._lends_eddm and self.mllm not in ("", EDDM):
            raise UserError("run= beside expert= gives the EDDM that names classes, and mllm= another. Give one.")
        if (self.coco or self.labelme) and self.pictures is Pictures.none:
            raise UserError("coco= and labelme= are drawn from the masks: leave pictures=flagged.")
        for name, value in (("threshold", self.threshold), ("pixel_threshold", self.pixel_threshold)):
            if value is not None and not math.isfinite(value):
                raise UserError(f"{name}={value} is no number that a score could reach.")
            if value is not None and not self.expert and not 0 < value <= 1:
                raise UserError(f"{name}={value} is outside of the scores of EIAD, which lie between 0 and 1.")
        if not 0 <= self.doubt <= 1:
            raise UserError(f"doubt={self.doubt} must be between 0 (the score decides) and 1 (EDDM can always object).")
        for name, value, high in (("min_area", self.min_area, 1), ("line_width", self.line_width, 0.5)):
            if not 0 <= value < high:
                raise UserError(f"{name}={value} must be at least 0 and below {high}.")
        if min(self.batch_size, self.workers) < 1 or self.most_named < 0:
            raise UserError(
                f"batch_size={self.batch_size}, workers={self.workers} and most_named={self.most_named}: need at least "
                "1, 1 and 0."
            )
