"""Inspecting, without writing: photos in, rows and pictures out. What writes is `eval.inspection.run`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.classes.policy import Policy
from data.errors import UserError
from data.files import hash_value
from data.parallel import map_threads
from data.run import open_run
from data.sample import ImageArray, MaskArray, load_image
from eval.calibration.file import Calibration, read_calibration
from eval.inspection.config import EDDM, InspectConfig, Overlay
from eval.inspection.decision import Evidence, Verdict, decide
from eval.inspection.familiar import Familiar, load_exported, load_familiar
from eval.inspection.photos import Photo
from eval.inspection.regions import Places, find_places
from eval.inspection.rows import RegionRow, Row
from eval.inspection.sources import EIADSource, Picture, Source, open_source
from models.chat.load import load_chat
from models.chat.protocol import ChatModel
from models.contour import ContourConfig, draw_contour, draw_heat
from models.eddm.eddm import load_eddm
from models.eiad import Look, find_mdlm_folder
from models.velm.classify import Classifier
from models.velm.draw import VisualPromptKind
from models.velm.judge import Judge, Marked, read_product
from models.velm.prompt import PromptConfig, PromptStyle

LARGE = 1 << 28  # bytes of photos in a batch, above which it is cut short
FORMAT = 1  # of the rows: raised when they come to mean something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What is said about one photo, and its pixels.

    Attributes:
        row: What is said; its files are not written yet.
        image: (H, W, 3) uint8 RGB; None where it could not be read.
        look: What was seen in it; None likewise.
        mask: (H, W) bool, True on the regions of the row; None likewise.
    """

    row: Row
    image: ImageArray | None = None
    look: Look | None = None
    mask: MaskArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a defect begins, for one model.

    Attributes:
        score: A photo is flagged at or above it.
        pixel: A pixel of the map belongs to a region at or above it.
        low: See `Evidence.low`.
        high: See `Evidence.high`.
        top: Map value of the brightest colour in a heat overlay.
    """

    score: float
    pixel: float
    low: float
    high: float
    top: float


class Inspector:
    """Everything that looks and decides, loaded once.

    Args:
        source: Looks.
        config: How it is decided and drawn.
        calibration: The source's; None where it has none.
        judge: Names regions; None leaves their classes open.
        policy: What to do with each class.
        familiar: Knows unfamiliar photos; None asks nobody.
    """

    def __init__(
        self,
        source: Source,
        config: InspectConfig,
        *,
        calibration: Calibration | None = None,
        judge: Judge | None = None,
        policy: Policy | None = None,
        familiar: Familiar | None = None,
    ) -> None:
        self.source, self.config, self.calibration = source, config, calibration
        self.judge, self.policy, self.familiar = judge, policy, familiar
        self.limits = find_limits(source, config, calibration)

    def key(self, image_hash: str) -> str:
        """Names a row by its causes: the photo's content, who looks, and how it is decided and drawn."""
        config = self.config
        how: list[Any] = [FORMAT, self.source.key, asdict(self.limits), config.min_area]
        how += [config.line_width, config.overlay.value, config.most_named, self.familiar and self.familiar.key]
        known = asdict(self.calibration) if self.calibration is not None else {}
        how.append({name: value for name, value in known.items() if name != "sound"} or None)
        how.append(None if self.judge is None else self.judge.facts())
        policy = self.policy
        how.append(None if policy is None else [{k: a.value for k, a in policy.actions.items()}, dict(policy.reasons)])
        return hash_value([how, image_hash])

    def inspect(self, photos: Iterable[Photo], hashes: dict[str, str] | None = None) -> Iterator[Inspected]:
        """Inspects photos, a batch at a time, while threads decode the next ones; yields in their order.

        Args:
            photos: What to look at; one that cannot be read yields a row that says so.
            hashes: Name → hash of the file, for the keys; those that are missing get none.
        """
        known = hashes or {}
        seen = map_threads(self._load, photos, workers=self.config.workers)
        for batch in self._cut(seen):
            found = iter(self._look([loaded for _, loaded in batch if isinstance(loaded, _Loaded)]))
            for photo, loaded in batch:
                key = self.key(known[photo.name]) if photo.name in known else ""
                if isinstance(loaded, UserError):
                    yield Inspected(row=unreadable(photo, str(loaded), self.limits.score))
                else:
                    one = next(found)
                    yield replace(one, row=replace(one.row, key=key))

    def _cut(
        self, seen: Iterable[tuple[Photo, _Loaded | UserError]]
    ) -> Iterator[list[tuple[Photo, _Loaded | UserError]]]:
        """Batches of photos, cut short where they are large."""
        batch: list[tuple[Photo, _Loaded | UserError]] = []
        pixels = 0
        for photo, loaded in seen:
            batch.append((photo, loaded))
            pixels += loaded.picture.image.size if isinstance(loaded, _Loaded) else 0
            if len(batch) == self.config.batch_size or pixels > LARGE:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch

    def decide_again(self, inspected: Inspected, *, score: float, pixel: float) -> Inspected:
        """Decides on what was seen in a photo by other thresholds; nothing looks again, and nobody is asked again.

        Args:
            inspected: A photo that could be read, of a judge that names no classes; its `image` may be left out.
            score: See `Limits.score`.
            pixel: See `Limits.pixel`.
        """
        look, row = inspected.look, inspected.row
        assert look is not None and self.judge is None
        config = replace(self.config, threshold=score, pixel_threshold=pixel)
        other = Inspector(self.source, config, calibration=self.calibration)
        again = other._decide(Photo(row.name, Path(row.image)), look, other._find(look), None, 0.0)
        return replace(again, image=inspected.image, row=replace(again.row, key=row.key, warnings=row.warnings))

    def draw(self, inspected: Inspected) -> ImageArray:
        """The overlay of a photo that could be read, (H, W, 3) uint8 RGB."""
        image, mask, look = inspected.image, inspected.mask, inspected.look
        assert image is not None and mask is not None and look is not None
        overlay = image
        if self.config.overlay is not Overlay.contour:
            overlay = draw_heat(image, look.anomaly_map / self.limits.top)
        if self.config.overlay is not Overlay.heat and mask.any():
            overlay = draw_contour(overlay, mask, self._contour)
        return overlay

    @property
    def _contour(self) -> ContourConfig:
        return ContourConfig(line_width=self.config.line_width)

    def _load(self, photo: Photo) -> tuple[Photo, _Loaded | UserError]:
        try:
            image = load_image(photo.path)
        except UserError as error:
            return photo, error
        unfamiliar = self.familiar.ready(image) if self.familiar is not None else None
        return photo, _Loaded(Picture(photo.name, photo.path, image, self.source.ready(image)), unfamiliar)

    def _look(self, batch: Sequence[_Loaded]) -> list[Inspected]:
        if not batch:
            return []
        looks = self.source.look([loaded.picture for loaded in batch])
        far = self.familiar.distances([loaded.compared for loaded in batch]) if self.familiar is not None else []
        places = [self._find(look) for look in looks]
        called = self._name([loaded.picture for loaded in batch], looks, places)
        return [
            replace(
                self._decide(
                    Photo(loaded.picture.name, loaded.picture.path), look, place, classes, far[index] if far else 0.0
                ),
                image=loaded.picture.image,
            )
            for index, (loaded, look, place, classes) in enumerate(zip(batch, looks, places, called, strict=True))
        ]

    def _find(self, look: Look) -> Places:
        flagged = bool(look.score >= self.limits.score)
        return find_places(look.anomaly_map, self.limits.pixel, self.config.min_area, peak=flagged)

    def _name(
        self, pictures: Sequence[Picture], looks: Sequence[Look], places: Sequence[Places]
    ) -> list[list[str] | None]:
        """The classes of the largest regions of flagged photos; all places of a batch are asked at once."""
        if self.judge is None:
            return [None] * len(looks)
        asked = [
            (index, Marked(picture.path, picture.image, place.only(region)))
            for index, (picture, look, place) in enumerate(zip(pictures, looks, places, strict=True))
            if look.score >= self.limits.score
            for region in range(min(self.config.most_named, len(place.regions)))
        ]
        named: list[list[str] | None] = [[] for _ in looks]
        for (index, _), name in zip(asked, self.judge.name([marked for _, marked in asked]), strict=True):
            named[index].append(name)  # type: ignore[union-attr]
        return named

    def _decide(self, photo: Photo, look: Look, places: Places, classes: Sequence[str] | None, far: float) -> Inspected:
        names = places.names
        evidence = Evidence(
            score=look.score,
            threshold=self.limits.score,
            low=self.limits.low,
            high=self.limits.high,
            places=names,
            present=look.present,
            defect=look.defect,
            classes=classes,
        )
        decision = decide(evidence, self.policy)
        mask = places.keep([finding.index for finding in decision.findings])
        regions = tuple(
            RegionRow(
                box=places.regions[finding.index].box,
                area=places.regions[finding.index].area,
                place=names[finding.index],
                name=finding.name,
                action=finding.action.value,
            )
            for finding in decision.findings
        )
        row = Row(
            image=str(photo.path),
            name=photo.name,
            key="",
            verdict=decision.verdict,
            score=look.score if np.isfinite(look.score) else None,
            probability=self.calibration.probability(look.score) if self.calibration is not None else None,
            threshold=self.limits.score,
            regions=regions,
            action=decision.action.value,
            reason=decision.reason,
            description=decision.text,
            said=look.words,
            present=look.present,
            defect_share=float(mask.mean()),
            size=look.anomaly_map.shape[:2],
            warnings=(unfamiliar(far),) if far > 1 else (),
        )
        return Inspected(row=row, look=look, mask=mask)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A photo that was read, and what the comparison with the training's images needs of it."""

    picture: Picture
    compared: Any


def unreadable(photo: Photo, error: str, threshold: float) -> Row:
    """The row of a photo that could not be read; it has no key, so it is tried again."""
    return Row(
        image=str(photo.path),
        name=photo.name,
        key="",
        verdict=Verdict.unreadable,
        threshold=threshold,
        action="ask",
        reason="the file cannot be read",
        error=error,
    )


def unfamiliar(far: float) -> str:
    """The warning of a photo that looks like nothing the model was trained on.

    Args:
        far: Distance to its nearest training image, in multiples of the products' own distance; above 1.
    """
    farther = "a little farther than" if far < 1.05 else f"{far:.1f} times as far as"
    return (
        f"It looks like none of the products that the model was trained on ({farther} they are from each other): do "
        "not rely on this row."
    )


def find_limits(source: Source, config: InspectConfig, calibration: Calibration | None) -> Limits:
    """The thresholds: those of the command line, else the calibration's, else the source's own.

    Raises:
        UserError: If no score of the source can be at or below the threshold.
    """
    score, pixel = source.threshold, source.pixel
    if calibration is not None:
        score = calibration.threshold
        pixel = calibration.pixel if calibration.pixel is not None else pixel
    score = config.threshold if config.threshold is not None else score
    pixel = config.pixel_threshold if config.pixel_threshold is not None else pixel
    low, high = score - config.doubt * abs(score), score + config.doubt * max(1 - score, 0)
    if not source.bounded:
        low = high = score  # nobody but the score speaks
    return Limits(score=score, pixel=pixel, low=low, high=high, top=1.0 if source.bounded else max(2 * pixel, 1e-12))


def load_inspector(config: InspectConfig) -> Inspector:
    """Loads everything that looks and decides.

    Raises:
        UserError: If settings do not go together, something is missing or damaged, or the calibration is another
            model's.
    """
    config.check()
    product, policy = read_product(config.classes, config.category, config.policy)
    source = open_source(config)
    calibration = read_calibration(source.folder, source.key, source.category) if config.threshold is None else None
    judge = None
    if product is not None:
        contour = ContourConfig(line_width=config.line_width)
        reference = Path(config.reference) if config.reference else None
        judge = Judge(load_classifier(config, source), product, contour, reference)
    familiar = None
    if config.familiar and not config.expert:
        run = open_run(config.run) if config.run else None
        familiar = (
            load_exported(source.folder, config)
            if run is None or run.is_shipped
            else load_familiar(run.path, find_mdlm_folder(config)[0], config)
        )
    return Inspector(source, config, calibration=calibration, judge=judge, policy=policy, familiar=familiar)


def load_classifier(config: InspectConfig, source: Source) -> Classifier:
    """The language model that names classes: the source's EDDM, the EDDM of `run`, or `mllm`.

    Raises:
        UserError: If it cannot be loaded, or there is none.
    """
    if config.mllm in ("", EDDM):
        chat: ChatModel | None = source.chat if isinstance(source, EIADSource) else None
        if chat is None and config.run:
            trusted = config.trust_remote_code
            chat = load_eddm(open_run(config.run), trust_remote_code=trusted, where=config).chat
        if chat is None:
            raise UserError("Without an EDDM nobody names the classes of classes=FILE. Give mllm=MODEL.")
        return Classifier(chat, PromptConfig(style=PromptStyle.ddqa), VisualPromptKind.contour, config.choice)
    chat = load_chat(config.mllm, config.chat, trust_remote_code=config.trust_remote_code)
    return Classifier(chat, config.prompt, VisualPromptKind.contour, config.choice)
