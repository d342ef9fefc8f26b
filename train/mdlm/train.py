"""Training the MDLM (EIAD, Sec. III-C and IV-B): LoRA on LLaVA, [SEG], DAM and SAM's mask decoder on mask losses.

Reads the images, masks and descriptions of the training set; writes `RUN/mdlm/<description mode>/`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from data.content import hash_samples
from data.errors import UserError
from data.files import hash_value
from data.run import Run
from data.sample import Sample
from data.source import load_samples
from data.splits import check_disjoint, check_unseen
from data.training.descriptions import Manner, load_descriptions
from data.training.grounding import DescriptionMode, grounding_prompts
from data.training.weighted import check_weights
from models.eddm.identity import identify_eddm
from models.mdlm.files import save_adapter
from models.mdlm.model import create_mdlm
from models.mdlm.processor import GroundingBatch
from models.weights.shipped import check_base
from train.engine import ranks
from train.engine.checkpoint import clear_finished
from train.engine.identity import Identity, flatten, settings_of
from train.engine.launch import check_launch, whole_parameters
from train.engine.preflight import begin, check_same
from train.engine.stage import Stage, alone, claim, finish, name_checkpoint
from train.mdlm.config import INDECISIVE, RunConfig, TrainMDLMConfig
from train.mdlm.loop import StepLoss, fit
from train.mdlm.losses import LossConfig, mask_loss
from train.mdlm.mix import drawn_ids, mix_dataset, replay_items

log = logging.getLogger(__name__)
HOW = (  # change how training goes along, how fast and in how much memory, not what comes out
    *("preset", "run_dir", "base", "tracking", "launch", "resume", "keep_decoded"),
    *("mdlm.gradient_checkpointing", "mdlm.llava.attention", "mdlm.sam.attention"),
    *(f"loop.{name}" for name in INDECISIVE),
)
BY_CONTENT = (  # what they hold enters the identity, not where it lies
    *("data", "description", "descriptions", "mode", "length", "naming", "mix.items"),
    *("mdlm.llava.path", "mdlm.sam.checkpoint", "mdlm.heads"),
)


def train_mdlm(config: TrainMDLMConfig) -> None:
    """Trains the adapter and the heads on the training samples, unless they are trained; an interrupted run goes on.

    Raises:
        UserError: If an input is missing or bad, another process trains here, or the loss stops being finite.
    """
    check_base(config.base, config.preset)
    check_launch(config.launch)
    begin(config, config.launch.timeout)
    run = Run(Path(config.run_dir))
    stage = _stage(config, run)
    with alone(stage.done.parent):
        samples, prompts, drawn = _read_data(config, run)
        with ranks.patient(config.launch.timeout):
            identity = _identity(config, samples, prompts, drawn)
        if ranks.main_decides(lambda: claim(stage, identity, config.resume)):
            log.info("%s: already trained in %s.", stage.name, stage.done.parent)
        else:
            log.info("%s: %d training images.", stage.name, len(samples))
            _train(config, samples, prompts, stage, identity)
    ranks.leave()


def _stage(config: TrainMDLMConfig, run: Run) -> Stage:
    folder = run.mdlm / config.description.value
    return Stage(
        name=f"MDLM, {config.description.value}",
        done=folder / "config.json",
        identity=folder / "identity.json",
        work=folder / "checkpoints",
        result=folder / "heads.safetensors",
    )


def _read_data(config: TrainMDLMConfig, run: Run) -> tuple[list[Sample], list[str], list[Sample]]:
    """The training samples, what is said about each, and those that are drawn; of the others nothing is said.

    Raises:
        UserError: If they share products or images with what stays unseen, or one that is drawn has no description.
    """
    check_unseen([source.reader for source in config.data.train], config.data.unseen)
    samples = load_samples(config.data.train).samples
    if config.data.weights:
        check_weights(config.data.weights, {sample.dataset for sample in samples})
    if config.data.zero_shot:
        check_disjoint(samples, load_samples(config.data.zero_shot).samples)
    ids = drawn_ids(config, samples)
    drawn = [sample for sample in samples if sample.id in ids]
    texts = grounding_prompts(drawn, config.description, _descriptions(config, run, drawn))
    by_id = dict(zip((sample.id for sample in drawn), texts, strict=True))
    return samples, [by_id.get(sample.id, "") for sample in samples], drawn


def _descriptions(config: TrainMDLMConfig, run: Run, samples: Sequence[Sample]) -> dict[str, str]:
    """What EDDM says about the samples, if it says anything.

    Raises:
        UserError: If there is no log, or it is by another EDDM, in another manner, or about other images.
    """
    if config.description is not DescriptionMode.eddm:
        return {}
    name = config.descriptions
    path = Path(name) if name.endswith(".jsonl") else run.descriptions / f"{name}.jsonl"
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Run scripts.describe first, or choose description=fixed.")

    def load() -> dict[str, str]:
        writer = identify_eddm(run) if path.parent == run.descriptions else {}
        return load_descriptions(path, samples, _manner(config).facts() | writer)

    return ranks.main_decides(load)


def _manner(config: TrainMDLMConfig) -> Manner:
    return Manner(config.mode, config.length, config.naming)


def _identity(
    config: TrainMDLMConfig, samples: Sequence[Sample], prompts: Sequence[str], drawn: Sequence[Sample]
) -> Identity:
    """All that decides the result: settings, and by content prompts, base weights, replay items, images and masks.

    Which images are drawn is a pure function of the seed and of the list of all; what the others hold does not matter,
    so 1,600 draws do not cost the reading of 130,000 images.

    Raises:
        UserError: If the ranks see different data.
    """
    listed = f"{len(samples)}, {hash_value([(s.id, s.dataset, s.is_normal) for s in samples])[:16]}"
    sizes = {sample.id: str(sample.image.stat().st_size) for sample in drawn}
    check_same({"images": listed, **sizes}, "training data")  # a glance of every rank; one of them reads everything
    settings = settings_of(asdict(config), without=(*HOW, *BY_CONTENT))
    settings |= flatten({"data.weights": config.data.weights}) if config.data.weights else {}
    settings |= {"images to draw from": listed, "what is said about the images": hash_value(list(prompts))}
    return ranks.main_decides(lambda: Identity(settings | _name_inputs(config), _name_samples(drawn)))


def _name_inputs(config: TrainMDLMConfig) -> dict[str, str]:
    """What the checkpoints on this disk and the replay items hold."""
    mdlm, items = config.mdlm, replay_items(config)
    return {
        "mdlm.llava.path": name_checkpoint(mdlm.llava.path),
        "mdlm.sam.checkpoint": name_checkpoint(mdlm.sam.checkpoint),
        "mdlm.heads": name_checkpoint(mdlm.heads),
        "mix.items": "None" if items is None else items.fingerprint(),
    }


def _name_samples(samples: Sequence[Sample]) -> dict[str, str]:
    hashes = hash_samples(samples)
    return {
        sample.id: f"{sample.defect or 'normal'}, {digest[:16]}" for sample, digest in zip(samples, hashes, strict=True)
    }


def _train(
    config: TrainMDLMConfig,
    samples: Sequence[Sample],
    prompts: Sequence[str],
    stage: Stage,
    identity: Identity,
) -> None:
    """The paper's training: fits the adapter and the heads, and writes them to the stage's folder."""
    ranks.main_decides(lambda: _check_room(config))
    torch.manual_seed(config.seed)
    model = create_mdlm(config.mdlm)
    if model.processor is None:
        raise AssertionError("create_mdlm always sets the processor")
    held = fit(
        model,
        mix_dataset(config, samples, prompts),
        collate=model.processor.collate,
        loss=lambda mdlm, batch: _loss(mdlm, batch, config.loss),
        config=config.loop,
        run=RunConfig(tracking=config.tracking, launch=config.launch),
        folder=stage.done.parent,
        name=stage.name,
        seed=config.seed,
        identity=identity,
        settings=asdict(config),
        facts={"token id of [SEG]": model.llava.seg_id},
    )
    with whole_parameters(model):
        if ranks.is_main():
            told = _manner(config).facts() if config.description is DescriptionMode.eddm else None
            save_adapter(model, model.processor.tokenizer, config.mdlm, stage.done.parent, told)
            finish(stage, identity, {**asdict(config), "optimizer_bytes_per_rank": held})
            clear_finished(stage.work, keep_best=config.loop.keep_best)
    ranks.wait()


def _check_room(config: TrainMDLMConfig) -> None:
    """Refuses a training that is too large for this GPU, before gigabytes are read."""
    if torch.cuda.is_available():
        from train.plan.room import check_mdlm_room  # slow to import

        check_mdlm_room(config, ranks.world_size())


def _loss(mdlm: nn.Module, batch: GroundingBatch, config: LossConfig) -> StepLoss:
    logits = mdlm(batch)
    masks = mask_loss(logits, batch.masks, batch.valid, config)
    return StepLoss(masks.total, {"bce": masks.bce, "dice": masks.dice}, logits)
