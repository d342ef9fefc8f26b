"""The tiny base: a LLaVA-NeXT and a SAM made from scratch that can do, on generic scenes, what real ones bring.

The paper fine-tunes pre-trained checkpoints for 200 steps. Nothing that small can be downloaded, so four short stages
stand in for the pre-training; none of them sees a product of a dataset.

1. language: LLaVA's language model reads descriptions and tells type and place (next-token loss on the answer). The
   [SEG] projection learns to turn the state into SAM's positional code of the place, as if it were a box prompt.
   Without this stage a random language model never learns to use the text from mask losses alone.
2. encoder: SAM's image encoder finds marks and their types per cell (a throw-away linear head).
3. decoder: SAM, encoder included, segments the mark at a prompted point or region, as SAM's own pre-training does.
4. referring: everything together; a sentence means one of several marks, all of them, or none (as LISA's referring
   data). From here on the [SEG] state is the prompt.

Writes `RUN/mdlm/base/{llava/,sam.safetensors,heads.safetensors}`; each stage resumes from its own checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from data.files import read_jsonl, write_jsonl
from data.tiny.reading import DescriptionReading, reading_corpus
from data.tiny.referring import KINDS, ReferringConfig, ReferringScenes, SceneMarks
from data.training.batches import MixedDataset, Part
from models.mdlm.llava import LlavaConfig, add_seg_token
from models.mdlm.model import MDLM, MDLMConfig, assemble, build_processor
from models.mdlm.processor import GroundingBatch, MDLMProcessor
from models.mdlm.sam import Sam, build_sam
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from train.engine import ranks
from train.engine.checkpoint import clear_finished
from train.engine.identity import Identity, flatten
from train.engine.stage import finish, is_finished
from train.mdlm.loop import LoopConfig, RunConfig, StepLoss, decisive, fit
from train.mdlm.losses import LossConfig, mask_loss
from train.tiny.warmup import (
    Finder,
    MarkBatch,
    Reader,
    ReadingBatch,
    cell_loss,
    collate_marks,
    collate_reading,
    place_codes,
    point_codes,
)


@dataclass(kw_only=True, slots=True)
class BaseMDLMConfig:
    """What the base is made of and how long each stage takes.

    Attributes:
        llava: Sizes of the language model.
        scenes: Generic scenes and what is said about them.
        loss: Mask loss of the decoder and referring stages.
        place_weight: Weight of the positional code in the language stage.
        cell_weight: Weight of the per-cell loss in the decoder stage.
        attention_gain: Factor on the query and key weights between prompts and cells, which start out tied: then a
            positional prompt attends to its place from the first step, as in a trained SAM.
        residual_scale: Factor on the output weights of the encoder's residual layers at the start.
        language: Stage 1; a batch is that many descriptions.
        encoder: Stage 2.
        decoder: Stage 3.
        referring: Stage 4.
    """

    llava: TinyLlavaConfig = field(default_factory=TinyLlavaConfig)
    scenes: ReferringConfig = field(default_factory=ReferringConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    place_weight: float = 1.0
    cell_weight: float = 0.3
    attention_gain: float = 3.0
    residual_scale: float = 0.1
    language: LoopConfig = field(default_factory=LoopConfig)
    encoder: LoopConfig = field(default_factory=LoopConfig)
    decoder: LoopConfig = field(default_factory=LoopConfig)
    referring: LoopConfig = field(default_factory=LoopConfig)


def train_base(config: BaseMDLMConfig, mdlm: MDLMConfig, *, folder: Path, seed: int, run: RunConfig) -> None:
    """Makes the base checkpoints, unless they are there already.

    Args:
        config: What the base is made of.
        mdlm: The MDLM that will start from it: SAM's sizes, the chat template.
        folder: `RUN/mdlm/base`.
        seed: Seed of everything.
        run: Tracking, ranks, resume; a finished base stays finished whatever `resume` is.
    """
    identity = _identity(config, mdlm, seed)
    if ranks.main_decides(lambda: is_finished(folder, identity.fingerprint)):
        return
    torch.manual_seed(seed)
    model, processor = _build(config, mdlm, seed)
    stages: Sequence[tuple[str, LoopConfig, Callable[..., None]]] = (
        ("language", config.language, _language),
        ("encoder", config.encoder, _encoder),
        ("decoder", config.decoder, _decoder),
        ("referring", config.referring, _referring),
    )
    scenes = ReferringScenes(config.scenes, size=processor.sam_size, seed=seed)
    head = nn.Linear(model.sam.channels, len(KINDS) + 1)
    for name, loop, train_stage in stages:
        fit_stage = partial(
            fit,
            config=loop,
            run=run,
            folder=folder / "stages" / name,
            name=f"MDLM base, {name}",
            seed=seed,
            identity=identity,
        )
        train_stage(config, loop, model, head, processor, scenes, fit_stage)
    if ranks.is_main():
        _save(model, processor, folder)
        _join_logs(folder, [name for name, *_ in stages])
        finish(folder, identity.fingerprint, {"base": asdict(config), "mdlm": asdict(mdlm), "seed": seed})
        for name, loop, _ in stages:
            clear_finished(folder / "stages" / name / "checkpoints", keep_best=loop.keep_best)
    ranks.wait()


def _identity(config: BaseMDLMConfig, mdlm: MDLMConfig, seed: int) -> Identity:
    values = asdict(config)
    loops = {name: decisive(values.pop(name)) for name in ("language", "encoder", "decoder", "referring")}
    sam = asdict(mdlm.sam) | {"checkpoint": None}
    return Identity(flatten({"base": values | loops, "sam": sam, "template": mdlm.llava.template, "seed": seed}))


def _build(config: BaseMDLMConfig, mdlm: MDLMConfig, seed: int) -> tuple[MDLM, MDLMProcessor]:
    corpus = [mdlm.llava.template.format(image="", prompt=text, seg="") for text in reading_corpus()]
    tokenizer = build_tiny_tokenizer(corpus, config.llava.vocabulary)
    llava = build_tiny_llava(config.llava, tokenizer, seed=seed)
    seg_id = add_seg_token(llava, tokenizer)
    sam = build_sam(_scratch(mdlm).sam)
    _prepare_sam(sam, config)
    processor = build_processor(llava, tokenizer, sam, mdlm.llava)
    return assemble(llava, seg_id, sam, _scratch(mdlm), processor), processor


def _scratch(mdlm: MDLMConfig) -> MDLMConfig:
    """The same sizes without checkpoints and without DAM, which only the paper's stage adds."""
    scratch = MDLMConfig(llava=LlavaConfig(path="", template=mdlm.llava.template), sam=mdlm.sam)
    scratch.sam = type(mdlm.sam)(**{**asdict(mdlm.sam), "checkpoint": None})
    scratch.dam.enabled = False
    return scratch


def _prepare_sam(sam: Sam, config: BaseMDLMConfig) -> None:
    """Starts random weights where training moves fast (see `attention_gain` and `residual_scale`)."""
    with torch.no_grad():
        blocks: Any = sam.image_encoder.blocks
        for block in blocks:
            block.attn.proj.weight.mul_(config.residual_scale)
            block.mlp.lin2.weight.mul_(config.residual_scale)
        for attention in sam.prompt_attentions():
            attention.q_proj.weight.mul_(config.attention_gain)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.k_proj.bias.copy_(attention.q_proj.bias)


def _language(
    config: BaseMDLMConfig,
    loop: LoopConfig,
    model: MDLM,
    head: nn.Module,
    processor: MDLMProcessor,
    scenes: ReferringScenes,
    fit_stage: Callable[..., None],
) -> None:
    reader = Reader(model.llava, model.projection)
    model.requires_grad_(False)
    model.llava.llava.model.language_model.requires_grad_(True)
    model.llava.llava.lm_head.requires_grad_(True)
    model.projection.requires_grad_(True)
    codes = place_codes(model.sam)

    def loss(reader: Reader, batch: ReadingBatch) -> StepLoss:
        logits, prompts = reader(batch)
        labels = batch.labels[:, 1:].flatten()
        words = ranks.weigh(functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels), (labels != -100).sum())
        places = functional.mse_loss(prompts, codes.to(prompts)[batch.places])
        return StepLoss(words + config.place_weight * places, {"words": words, "places": places})

    fit_stage(
        reader,
        MixedDataset([Part(DescriptionReading(scenes.seed), loop.batch_size)]),
        collate=partial(collate_reading, processor=processor),
        loss=loss,
    )


def _encoder(
    config: BaseMDLMConfig,
    loop: LoopConfig,
    model: MDLM,
    head: nn.Module,
    processor: MDLMProcessor,
    scenes: ReferringScenes,
    fit_stage: Callable[..., None],
) -> None:
    model.requires_grad_(False)
    model.sam.image_encoder.requires_grad_(True)

    def loss(finder: Finder, batch: MarkBatch) -> StepLoss:
        _, cells = finder(batch)
        found = cell_loss(cells, batch)
        return StepLoss(found, {"cells": found})

    _fit_finder(loop, model, head, processor, scenes, fit_stage, loss)


def _decoder(
    config: BaseMDLMConfig,
    loop: LoopConfig,
    model: MDLM,
    head: nn.Module,
    processor: MDLMProcessor,
    scenes: ReferringScenes,
    fit_stage: Callable[..., None],
) -> None:
    model.requires_grad_(False)
    model.sam.image_encoder.requires_grad_(True)
    model.sam.train_decoder()
    codes = place_codes(model.sam)

    def loss(finder: Finder, batch: MarkBatch) -> StepLoss:
        even = torch.arange(len(batch.masks), device=batch.masks.device) % 2 == 0
        prompts = torch.where(
            even[:, None], point_codes(model.sam, batch.masks), codes.to(batch.masks.device)[batch.regions]
        )
        logits, cells = finder(batch, prompts)
        masks = mask_loss(logits, batch.masks, torch.ones_like(batch.masks), config.loss)
        found = cell_loss(cells, batch)
        total = masks.total + config.cell_weight * found
        return StepLoss(total, {"bce": masks.bce, "dice": masks.dice, "cells": found}, logits)

    _fit_finder(loop, model, head, processor, scenes, fit_stage, loss)


def _fit_finder(
    loop: LoopConfig,
    model: MDLM,
    head: nn.Module,
    processor: MDLMProcessor,
    scenes: ReferringScenes,
    fit_stage: Callable[..., None],
    loss: Callable[[Finder, MarkBatch], StepLoss],
) -> None:
    """Trains what is left trainable of SAM, and the throw-away head, on the marks of the scenes."""
    fit_stage(
        Finder(model.sam, head),
        MixedDataset([Part(SceneMarks(scenes), loop.batch_size)]),
        collate=partial(collate_marks, processor=processor),
        loss=loss,
    )


def _referring(
    config: BaseMDLMConfig,
    loop: LoopConfig,
    model: MDLM,
    head: nn.Module,
    processor: MDLMProcessor,
    scenes: ReferringScenes,
    fit_stage: Callable[..., None],
) -> None:
    model.requires_grad_(False)
    model.sam.train_decoder()
    model.projection.requires_grad_(True)
    model.llava.llava.model.language_model.requires_grad_(True)
    model.llava.llava.model.multi_modal_projector.requires_grad_(True)

    def loss(mdlm: nn.Module, batch: GroundingBatch) -> StepLoss:
        logits = mdlm(batch)
        masks = mask_loss(logits, batch.masks, batch.valid, config.loss)
        return StepLoss(masks.total, {"bce": masks.bce, "dice": masks.dice}, logits)

    fit_stage(model, MixedDataset([Part(scenes, loop.batch_size)]), collate=processor.collate, loss=loss)


def _save(model: MDLM, processor: MDLMProcessor, folder: Path) -> None:
    llava = folder / "llava"
    model.llava.llava.save_pretrained(llava)
    processor.tokenizer.save_pretrained(llava)
    save_file({k: v.contiguous() for k, v in model.sam.state_dict().items()}, folder / "sam.safetensors")
    save_file({k: v.contiguous() for k, v in model.projection.state_dict().items()}, folder / "heads.safetensors")


def _join_logs(folder: Path, names: list[str]) -> None:
    """One `log.jsonl` for all stages, with the stage in each row."""
    rows = [{"stage": name, **row} for name in names for row in read_jsonl(folder / "stages" / name / "log.jsonl")]
    write_jsonl(folder / "log.jsonl", [{**row, "step": step} for step, row in enumerate(rows, 1)])
