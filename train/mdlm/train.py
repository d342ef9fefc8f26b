"""Training the MDLM (EIAD, Sec. III-C and IV-B): LoRA on LLaVA, [SEG], DAM and SAM's mask decoder on mask losses.

Reads the images, masks and descriptions of the training set; writes `RUN/mdlm/<description mode>/`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.errors import UserError
from data.files import hash_value
from data.run import Run
from data.sample import Sample
from data.source import DataConfig, load_samples
from data.splits import check_disjoint, check_unseen
from data.tiny.referring import ReferringConfig, ReferringScenes
from data.training.batches import ItemDataset, MixedDataset, Part
from data.training.descriptions import load_descriptions
from data.training.grounding import AugmentConfig, DescriptionMode, SampleGrounding, grounding_prompts
from data.training.weighted import WeightedDataset, check_weights
from models.mdlm.embedding_cache import CacheConfig
from models.mdlm.files import save_adapter
from models.mdlm.model import MDLMConfig, create_mdlm
from models.mdlm.processor import GroundingBatch
from train.engine import ranks
from train.engine.checkpoint import clear_finished
from train.engine.identity import Identity, flatten
from train.engine.launch import LaunchConfig, check_launch, whole_parameters
from train.engine.preflight import check_same
from train.engine.resume import Resume
from train.engine.stage import finish, hash_base, is_finished
from train.engine.tracking import TrackingConfig
from train.mdlm.embedding_cache import attach_cache, check_cacheable
from train.mdlm.loop import LoopConfig, RunConfig, StepLoss, decisive, fit
from train.mdlm.losses import LossConfig, mask_loss
from train.tiny.mdlm import BaseMDLMConfig, train_base

log = logging.getLogger(__name__)


class Stage(StrEnum):
    """What to train: the tiny base, the adapter on it (the paper's training), or whichever is not done yet."""

    all = "all"
    base = "base"
    adapter = "adapter"


@dataclass(kw_only=True, slots=True)
class MixConfig:
    """What a batch is made of. The paper is silent; LISA too mixes referring segmentation into its training.

    Attributes:
        normal_share: Share of normal images in the rest of the batch; None draws all images alike.
        replay: Images of a batch that come from generic referring scenes, so that a short fine-tuning on noisy
            descriptions does not unlearn reading. 0 trains on the dataset alone.
        scenes: What these scenes are.
    """

    normal_share: float | None = None
    replay: int = 0
    scenes: ReferringConfig = field(default_factory=ReferringConfig)


@dataclass(kw_only=True, slots=True)
class TrainMDLMConfig:
    """Everything that decides a training run.

    Attributes:
        preset: Name of the preset.
        run_dir: The run directory.
        seed: Seed of weights, order, augmentation and scenes.
        stage: What to train.
        description: What the MDLM is told about each image.
        descriptions: `RUN/descriptions/<name>.jsonl`, or a path that ends in `.jsonl`; read in mode `eddm` alone.
        data: Training samples, and zero-shot samples that must share no category or image with them.
        mdlm: The model.
        base: How to make the base checkpoints; None when `mdlm` names real ones.
        loop: How long and how to train.
        loss: Weights of the loss.
        mix: What a batch is made of.
        augment: Photometric augmentation; None trains on the images as they are.
        keep_decoded: Keeps decoded images in memory.
        max_side: Training images are reduced to this longer side, in pixels; None keeps their size.
        cache: Keeps SAM's image embeddings on disk; needs augment=null and mix.replay=0.
        tracking: How progress is shown.
        launch: How the ranks work together.
        resume: Goes on from checkpoints of the same settings and data, or starts unfinished stages again.
    """

    preset: str
    run_dir: str
    seed: int = 0
    stage: Stage = Stage.all
    description: DescriptionMode = DescriptionMode.eddm
    descriptions: str = "train"
    data: DataConfig
    mdlm: MDLMConfig
    base: BaseMDLMConfig | None = None
    loop: LoopConfig = field(default_factory=LoopConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    keep_decoded: bool = False
    max_side: int | None = None
    cache: CacheConfig | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    resume: Resume = Resume.auto


def train_mdlm(config: TrainMDLMConfig) -> None:
    """Trains what `config.stage` names; a finished stage is skipped, an interrupted one goes on.

    Raises:
        UserError: If an input is missing or bad, or the loss stops being finite.
    """
    check_launch(config.launch)
    ranks.meet(config.launch.timeout)
    if not ranks.is_main():
        logging.getLogger().setLevel(logging.WARNING)  # the main rank tells everything once
    check_same(flatten(asdict(config)), "configurations")
    run, how = (
        Run(Path(config.run_dir)),
        RunConfig(tracking=config.tracking, launch=config.launch, resume=config.resume),
    )
    if config.stage is not Stage.adapter and config.base is not None:
        train_base(config.base, config.mdlm, folder=run.mdlm / "base", seed=config.seed, run=how)
    elif config.stage is Stage.base:
        raise UserError(f"stage=base, but preset '{config.preset}' has no base to train: it starts from real weights.")
    if config.stage is not Stage.base:
        train_adapter(config, run, how)
    ranks.leave()


def train_adapter(config: TrainMDLMConfig, run: Run, how: RunConfig) -> None:
    """The paper's training: fits the adapter and the heads on the training samples."""
    check_unseen([source.reader for source in config.data.train], config.data.unseen)
    if config.cache is not None:
        check_cacheable(augment=config.augment, replay=config.mix.replay, lora=config.mdlm.sam_lora)
    samples = load_samples(config.data.train).samples
    if config.data.weights:
        check_weights(config.data.weights, {sample.dataset for sample in samples})
    if config.data.zero_shot:
        check_disjoint(samples, load_samples(config.data.zero_shot).samples)
    prompts = grounding_prompts(samples, config.description, _descriptions(config, run))
    folder = run.mdlm / config.description.value
    identity = _identity(config, run, samples, prompts)
    if ranks.main_decides(lambda: is_finished(folder, identity.fingerprint)):
        log.info("MDLM, %s: already trained in %s.", config.description.value, folder)
        return
    log.info("MDLM, %s: %d training images.", config.description.value, len(samples))
    torch.manual_seed(config.seed)
    model = create_mdlm(config.mdlm)
    if model.processor is None:
        raise AssertionError("create_mdlm always sets the processor")
    attach_cache(model, config.cache, lora=config.mdlm.sam_lora)
    held = fit(
        model,
        mix_dataset(config, samples, prompts, model.sam.image_size),
        collate=model.processor.collate,
        loss=lambda mdlm, batch: _loss(mdlm, batch, config.loss),
        config=config.loop,
        run=how,
        folder=folder,
        name=f"MDLM, {config.description.value}",
        seed=config.seed,
        identity=identity,
        settings=asdict(config),
        facts={"token id of [SEG]": model.llava.seg_id},
    )
    with whole_parameters(model):
        if ranks.is_main():
            save_adapter(model, model.processor.tokenizer, config.mdlm, folder)
            finish(folder, identity.fingerprint, {**asdict(config), "optimizer_bytes_per_rank": held})
            clear_finished(folder / "checkpoints", keep_best=config.loop.keep_best)
    ranks.wait()


def _loss(mdlm: nn.Module, batch: GroundingBatch, config: LossConfig) -> StepLoss:
    logits = mdlm(batch)
    masks = mask_loss(logits, batch.masks, batch.valid, config)
    return StepLoss(masks.total, {"bce": masks.bce, "dice": masks.dice}, logits)


def mix_dataset(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], scene_size: int
) -> MixedDataset:
    """Splits a batch among normal images, anomalous images and generic scenes.

    Raises:
        UserError: If the shares leave no room for the training images.
    """
    own = config.loop.batch_size - config.mix.replay
    if own < 1:
        raise UserError(f"mix.replay={config.mix.replay} fills the batch of {config.loop.batch_size}: lower it.")
    normal = [k for k, sample in enumerate(samples) if sample.is_normal]
    anomalous = [k for k, sample in enumerate(samples) if not sample.is_normal]
    parts: list[Part]
    if config.mix.normal_share is None or not normal or not anomalous:
        parts = [Part(_grounding(config, samples, prompts, range(len(samples))), own)]
    else:
        count = min(own - 1, max(1, round(own * config.mix.normal_share))) if own > 1 else 0
        parts = [
            Part(_grounding(config, samples, prompts, anomalous), own - count),
            Part(_grounding(config, samples, prompts, normal), count),
        ]
    if config.mix.replay:
        scenes = ReferringScenes(config.mix.scenes, size=scene_size, seed=config.seed)
        parts.append(Part(scenes, config.mix.replay))
    return MixedDataset(parts)


def _grounding(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], chosen: Sequence[int]
) -> ItemDataset:
    """The chosen samples as one dataset: drawn alike, or by the weight of the dataset that they come from."""
    if not config.data.weights:
        return _items(config, samples, prompts, chosen)
    by_dataset = {
        name: [k for k in chosen if samples[k].dataset == name] for name in sorted({samples[k].dataset for k in chosen})
    }
    return WeightedDataset(
        [_items(config, samples, prompts, own) for own in by_dataset.values()],
        [config.data.weights[name] for name in by_dataset],
        seed=config.seed,
    )


def _items(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], chosen: Sequence[int]
) -> SampleGrounding:
    return SampleGrounding(
        [samples[k] for k in chosen],
        [prompts[k] for k in chosen],
        config.seed,
        config.augment,
        config.keep_decoded,
        config.max_side,
    )


def _descriptions(config: TrainMDLMConfig, run: Run) -> dict[str, str]:
    if config.description is not DescriptionMode.eddm:
        return {}
    name = config.descriptions
    path = Path(name) if name.endswith(".jsonl") else run.descriptions / f"{name}.jsonl"
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Run scripts.describe first, or choose description=fixed.")
    return load_descriptions(path)


def _identity(config: TrainMDLMConfig, run: Run, samples: Sequence[Sample], prompts: Sequence[str]) -> Identity:
    """All that decides the result: settings, prompts, base weights, and images by id, defect and size.

    Paths are taken relative to the run directory, so that a moved run stays finished.
    """
    ignored = {"run_dir", "stage", "tracking", "launch", "resume", "keep_decoded"}
    ignored |= {"data", "base", "descriptions", "cache"}
    settings: dict[str, Any] = {key: value for key, value in asdict(config).items() if key not in ignored}
    settings["loop"] = decisive(settings["loop"])
    if config.data.weights:
        settings["weights"] = config.data.weights
    settings["cached"] = config.cache is not None  # embeddings are rounded to float16
    flat = {key: value.replace(config.run_dir, "RUN") for key, value in flatten(settings).items()}
    flat["what is said about the images"] = hash_value(list(prompts))
    flat["weights of the base"] = hash_base(run.mdlm / "base") if config.base else ""
    data = {sample.id: f"{sample.defect or 'normal'}, {sample.image.stat().st_size} bytes" for sample in samples}
    return Identity(flat, data)
