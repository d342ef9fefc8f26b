"""How each vision expert is fitted: what it learns from, how it scores, what is saved."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.sample import ImageArray, Sample, load_image
from data.source import Source, load_samples
from models.device import DeviceConfig
from models.experts.anomalib.expert import AnomalibConfig, AnomalibExpert
from models.experts.clip.backbone import ClipConfig
from models.experts.clip.make import make_clip_expert
from models.experts.clip.winclip import WinClip
from models.experts.ddad import DDAD, DDADConfig
from models.experts.expert import Gate, MapArray
from models.experts.frame import Frame, Framed, list_views, make_frame
from models.experts.gate import GateConfig
from models.experts.load import ON_CLIP, ExpertName, parse_expert
from models.experts.mdlm import MDLMExpert, MDLMExpertConfig
from models.experts.own import OwnExpert
from models.experts.patchcore import PatchCore, PatchCoreConfig
from models.experts.precomputed import PrecomputedExpert
from models.experts.saa.expert import SAA, SAAConfig
from models.experts.store import write_expert, write_gates
from train.experts.ddad import DDADTrainConfig, train_ddad

log = logging.getLogger(__name__)
FITTED = [name.value for name in ExpertName if name is not ExpertName.oracle]
Fitted = Mapping[str, list[str]]  # category → ids of the samples that it was fitted on


@dataclass(kw_only=True, slots=True)
class FitExpertConfig(DeviceConfig):
    """What to fit on what.

    Attributes:
        expert: Name of the expert; of `precomputed`, `mdlm` and `saa_plus` only the gate is fitted. One of your own is
            `package.module:Class`.
        options: Arguments of an expert of your own, by name.
        images: Folder of photos of a product, sound and defective ones in folders of their own: layout, split, fit and
            threshold are found by themselves (`train.experts.photos`). Without it, `dataset` and `data_root` say what.
        judgements: Folder of a log of judgements: its sound photos are fitted on, its defective ones looked at, beside
            those of `images` or alone; what was said of a photo counts, not the folder it lies in.
        good: What the folder of sound photos is called, where it says something else; `.` takes all that lie in
            `images` itself for sound.
        roi: Region of interest: the file of a mask, white where it is looked, or a polygon in pixels or in shares of
            the photo, such as `0.1,0.1 0.9,0.1 0.5,0.9`. Nothing outside of it is fitted, flagged or measured.
        tiles: Tiles along the longer side of a photo, for what is small on a large photo; the map is one.
        overlap: Share of a tile that its neighbour sees, too.
        most_tiles: Tiles that are fitted on at most, drawn from all photos.
        false_alarms: Share of sound photos of `images` that may be flagged; with too few photos, the smallest possible.
        folds: Parts of the cross-validation, where photos are too few to hold some out.
        dataset: Name of the reader that knows the dataset's layout.
        data_root: Folder of the dataset.
        splits: Splits with the normal images to fit on; anomalous ones among them are left out, and counted.
        categories: Categories to fit; empty fits all.
        train_share: Share of the normal images that is used, evenly spread over the listing: for datasets without a
            training split. The others stay unseen: `scripts.eval_expert` leaves out what an expert was fitted on.
        shots: Normal images that each category is fitted on, drawn at random by `seed`; 0 takes all. `winclip` stays
            zero-shot with 0. The gate is set on others.
        validation_splits: Splits with normal and anomalous images for `gate.method=f1_max`.
        out: Where to write the fitted expert; of `precomputed`, the folder that holds the maps.
        gate: How the thresholds are set.
        patchcore: Sizes of PatchCore.
        ddad: Sizes of DDAD.
        train_ddad: How DDAD is trained.
        anomalib: Arguments of an anomalib model.
        clip: Which CLIP a zero-shot expert sees with.
        mdlm: Which run's MDLM, asked how.
        saa: Checkpoints of SAA+, and what it is told about classes.
        seed: Of the choice of the held-out normal images.
        trust_remote_code: Allows code that comes with the weights of `mdlm`'s run; it must be the code trained with.
    """

    expert: str
    options: dict[str, Any] = field(default_factory=dict)
    images: str = ""
    judgements: str = ""
    good: str = ""
    roi: str = ""
    tiles: int = 1
    overlap: float = 0.2
    most_tiles: int = 256
    false_alarms: float = 0.05
    folds: int = 5
    dataset: str = ""
    data_root: str = ""
    splits: list[str] = field(default_factory=lambda: ["train"])
    categories: list[str] = field(default_factory=list)
    train_share: float = 1.0
    shots: int = 0
    validation_splits: list[str] = field(default_factory=list)
    out: str
    gate: GateConfig = field(default_factory=GateConfig)
    patchcore: PatchCoreConfig = field(default_factory=PatchCoreConfig)
    ddad: DDADConfig = field(default_factory=DDADConfig)
    train_ddad: DDADTrainConfig = field(default_factory=DDADTrainConfig)
    anomalib: AnomalibConfig = field(default_factory=AnomalibConfig)
    mdlm: MDLMExpertConfig = field(default_factory=MDLMExpertConfig)
    saa: SAAConfig = field(default_factory=SAAConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    seed: int = 0
    trust_remote_code: bool = False

    def samples(self, splits: list[str]) -> list[Sample]:
        """Lists the samples of some splits of the dataset."""
        source = Source(reader=self.dataset, root=self.data_root, splits=splits, categories=self.categories)
        return load_samples([source]).samples


@dataclass(frozen=True, slots=True)
class Fitting:
    """One expert while it is fitted.

    Attributes:
        learn: Learns a category from its normal samples; None for experts that only get a gate.
        score: Anomaly map (H, W) and score of a sample and its image; `learn` of its category went before.
        save: Writes the fitted expert, its gates and what it was fitted on to a folder.
    """

    learn: Callable[[str, Sequence[Sample]], None] | None
    score: Callable[[Sample, ImageArray], tuple[MapArray, float]]
    save: Callable[[Path, Mapping[str, Gate], Fitted], None]


def prepare_fitting(config: FitExpertConfig, folder: Path) -> Fitting:
    """The expert that a config names, ready to be fitted.

    Args:
        config: Which one, and how.
        folder: Where `precomputed` finds its maps.

    Raises:
        UserError: If what it needs (weights, a run, a package) is missing.
    """
    kind, model = parse_expert(config.expert)
    frame = make_frame(config.roi, config.tiles, config.overlap)
    if frame and kind not in (ExpertName.patchcore, ExpertName.ddad):
        raise UserError(f"roi= and tiles= go with patchcore and ddad, not with '{config.expert}'. Leave them out.")

    def device(own: str) -> str:
        return own if config.device == "auto" else config.device

    if kind is ExpertName.patchcore:
        config.patchcore = replace(config.patchcore, device=device(config.patchcore.device))
        return _fit_patchcore(config, frame)
    if kind is ExpertName.ddad:
        config.ddad = replace(config.ddad, device=device(config.ddad.device))
        return _fit_ddad(config, frame)
    if config.options and kind is not ExpertName.own:
        raise UserError(f"options= are those of an expert of your own; '{config.expert}' has settings of its name.")
    if kind is ExpertName.own:
        return _fit_own(OwnExpert.make(config.expert, config.options, config.device, list(ExpertName)))
    if kind is ExpertName.anomalib:
        return _fit_anomalib(AnomalibExpert(model, replace(config.anomalib, device=device(config.anomalib.device))))
    if kind is ExpertName.mdlm:
        return _fit_mdlm(config)
    if kind is ExpertName.saa_plus:
        return _fit_saa(SAA(replace(config.saa, device=device(config.saa.device))))
    if kind in ON_CLIP:
        return _fit_clip(config, replace(config.clip, device=device(config.clip.device)))
    if kind is ExpertName.precomputed:
        return _fit_precomputed(folder)
    raise UserError(f"expert={config.expert} cannot be fitted. Choose one of: {', '.join(FITTED)}.")


def _fit_patchcore(config: FitExpertConfig, frame: Frame) -> Fitting:
    expert = PatchCore(config.patchcore)
    looks = Framed(expert, frame) if frame else expert

    def learn(category: str, samples: Sequence[Sample]) -> None:
        views = list_views(samples, frame, config.most_tiles, config.seed)
        memory = expert.fit(category, _batches(views, config.patchcore.batch_size))
        log.info("%s: memory of %d patches", category, len(memory))

    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates = dict(gates)
        expert.save(folder, dict(fitted))
        frame.save(folder)

    return Fitting(learn, lambda sample, image: looks.score(sample.category, [image])[0], save)


def _fit_ddad(config: FitExpertConfig, frame: Frame) -> Fitting:
    expert = DDAD(config.ddad)
    looks = Framed(expert, frame) if frame else expert

    def learn(category: str, samples: Sequence[Sample]) -> None:
        views = list_views(samples, frame, config.most_tiles, config.seed)
        train_ddad(expert, category, views, config.train_ddad)

    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates = dict(gates)
        expert.save(folder, fitted)
        frame.save(folder)

    return Fitting(learn, lambda sample, image: looks.score(sample.category, [image])[0], save)


def _fit_own(expert: OwnExpert) -> Fitting:
    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates = dict(gates)
        expert.save(folder, dict(fitted))

    learn = expert.fit if expert.learns else None
    return Fitting(learn, lambda sample, image: expert.score(sample.category, [image])[0], save)


def _fit_anomalib(expert: AnomalibExpert) -> Fitting:
    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates = dict(gates)
        expert.save(folder, fitted)

    return Fitting(expert.fit, lambda sample, image: expert.score(sample.category, [image])[0], save)


def _fit_mdlm(config: FitExpertConfig) -> Fitting:
    expert = MDLMExpert(config.mdlm, {}, trust_remote_code=config.trust_remote_code, where=config)

    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates = dict(gates)
        expert.save(folder, dict(fitted))

    return Fitting(None, lambda sample, image: expert.score([sample], [image])[0], save)


def _fit_saa(expert: SAA) -> Fitting:
    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates.clear()
        expert.gates.update(gates)
        expert.save(folder, fitted)

    return Fitting(None, lambda sample, image: expert.score(sample.category, [image])[0], save)


def _fit_clip(config: FitExpertConfig, clip: ClipConfig) -> Fitting:
    expert = make_clip_expert(config.expert, clip)

    def learn(category: str, samples: Sequence[Sample]) -> None:
        assert isinstance(expert, WinClip)
        expert.remember(category, [load_image(sample.image) for sample in samples])

    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        expert.gates.clear()
        expert.gates.update(gates)
        expert.save(folder, fitted)

    if config.shots and not isinstance(expert, WinClip):
        raise UserError(f"expert={config.expert} is zero-shot alone, so only its gate is fitted. Leave out shots=.")
    return Fitting(
        learn if config.shots else None, lambda sample, image: expert.score(sample.category, [image])[0], save
    )


def _fit_precomputed(maps: Path) -> Fitting:
    expert = PrecomputedExpert(maps, {})

    def save(folder: Path, gates: Mapping[str, Gate], fitted: Fitted) -> None:
        write_gates(folder, gates)
        write_expert(folder, expert.name, {}, fitted)

    return Fitting(None, lambda sample, image: expert.read(sample, image.shape[:2]), save)


def _batches(images: Iterable[ImageArray], size: int) -> Iterator[list[ImageArray]]:
    spoken, done = time.monotonic(), 0
    images = iter(images)
    while batch := list(islice(images, size)):
        yield batch
        done += len(batch)
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("features: %d images", done)
