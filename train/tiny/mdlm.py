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

Writes `RUN/mdlm/base/{llava/,sam.safetensors,heads.safetensors,replay.json}`; each stage resumes from its own
checkpoints. The replay items are scenes of the last stage, for the adapter's training to mix in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from data.errors import writing
from data.processes.aside import share, written_aside
from data.tiny.drawn import write_drawn
from data.tiny.reading import DescriptionReading, reading_corpus
from data.tiny.referring import KINDS, ReferringScenes, SceneMarks
from data.training.batches import MixedDataset, Part
from models.mdlm.llava import LlavaConfig, add_seg_token
from models.mdlm.model import MDLM, MDLMConfig, assemble, build_processor
from models.mdlm.processor import GroundingBatch, MDLMProcessor
from models.mdlm.sam import Sam, build_sam
from models.tiny.llava_sam import build_tiny_llava, build_tiny_tokenizer
from train.engine import ranks
from train.engine.checkpoint import clear_finished
from train.engine.identity import Identity, settings_of
from train.engine.progress import join_logs
from train.engine.resume import Resume
from train.engine.stage import Stage, claim, finish
from train.mdlm.config import INDECISIVE, RunConfig
from train.mdlm.loop import StepLoss, fit
from train.mdlm.losses import mask_loss
from train.tiny.config import BaseMDLMConfig
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

log = logging.getLogger(__name__)
REPLAY = "replay.json"
STAGES = ("language", "encoder", "decoder", "referring")
HARMLESS = (
    *("mdlm.sam.checkpoint", "mdlm.sam.attention"),  # where the result goes; a kernel
    *(f"mdlm.{stage}.{name}" for stage in STAGES for name in INDECISIVE),
)


def train_base(config: BaseMDLMConfig, *, folder: Path, seed: int, run: RunConfig, resume: Resume) -> None:
    """Makes the base checkpoints and says what the replay items are, unless they are there already.

    Args:
        config: What the base is made of.
        folder: `RUN/mdlm/base`.
        seed: Seed of everything.
        run: Tracking and ranks.
        resume: `never` trains everything anew.

    Raises:
        UserError: If a base of other settings is there.
    """
    identity = _identity(config, seed)
    stage = Stage(
        name="MDLM base",
        done=folder / "config.json",
        identity=folder / "identity.json",
        work=folder / "stages",
        result=folder / "sam.safetensors",
    )
    if ranks.main_decides(lambda: claim(stage, identity, resume)):
        log.info("MDLM base: already trained in %s.", folder)
        return
    torch.manual_seed(seed)
    model, processor = _build(config, seed)
    scenes = ReferringScenes(config.scenes, size=processor.sam_size, seed=seed)
    bench = _Bench(config, model, nn.Linear(model.sam.channels, len(KINDS) + 1), processor, scenes)
    for name in STAGES:
        fit_stage = partial(
            fit,
            config=getattr(config, name),
            run=run,
            folder=stage.work / name,
            name=f"MDLM base, {name}",
            seed=seed,
            identity=identity,
        )
        getattr(bench, name)(fit_stage)
    if ranks.is_main():
        _save(model, processor, folder)
        write_drawn(folder / REPLAY, config.replay, size=processor.sam_size, seed=seed)
        join_logs(folder / "log.jsonl", {name: stage.work / name / "log.jsonl" for name in STAGES})
        finish(stage, identity, {"base": asdict(config), "seed": seed})
        for name in STAGES:
            clear_finished(stage.work / name / "checkpoints", keep_best=getattr(config, name).keep_best)
    ranks.wait()


def _identity(config: BaseMDLMConfig, seed: int) -> Identity:
    return Identity(settings_of({"mdlm": asdict(config), "seed": seed}, without=HARMLESS))


def _build(config: BaseMDLMConfig, seed: int) -> tuple[MDLM, MDLMProcessor]:
    """The MDLM without checkpoints and without DAM, which only the paper's training adds."""
    corpus = [config.template.format(image="", prompt=text, seg="") for text in reading_corpus()]
    tokenizer = build_tiny_tokenizer(corpus, config.llava.vocabulary)
    llava = build_tiny_llava(config.llava, tokenizer, seed=seed)
    seg_id = add_seg_token(llava, tokenizer)
    llava_config = LlavaConfig(path="", template=config.template)
    scratch = MDLMConfig(llava=llava_config, sam=replace(config.sam, checkpoint=None))
    scratch.dam.enabled = False
    sam = build_sam(scratch.sam)
    _prepare_sam(sam, config)
    processor = build_processor(llava, tokenizer, sam, llava_config)
    return assemble(llava, seg_id, sam, scratch, processor), processor


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


@dataclass(frozen=True, slots=True)
class _Bench:
    """The model in the making, and what its stages show it; each method trains the stage of its name."""

    config: BaseMDLMConfig
    model: MDLM
    head: nn.Module
    processor: MDLMProcessor
    scenes: ReferringScenes

    def language(self, fit_stage: Callable[..., int]) -> None:
        """Next tokens on the answers, and places for the [SEG] state."""
        config, model = self.config, self.model
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
            MixedDataset([Part(DescriptionReading(self.scenes.seed), config.language.batch_size)]),
            collate=partial(collate_reading, processor=self.processor),
            loss=loss,
        )

    def encoder(self, fit_stage: Callable[..., int]) -> None:
        """Marks and their types, cell by cell."""
        self.model.requires_grad_(False)
        self.model.sam.image_encoder.requires_grad_(True)

        def loss(finder: Finder, batch: MarkBatch) -> StepLoss:
            _, cells = finder(batch)
            found = cell_loss(cells, batch)
            return StepLoss(found, {"cells": found})

        self._fit_finder(fit_stage, loss, self.config.encoder.batch_size)

    def decoder(self, fit_stage: Callable[..., int]) -> None:
        """The mark at a point or in a region."""
        config, model = self.config, self.model
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

        self._fit_finder(fit_stage, loss, config.decoder.batch_size)

    def _fit_finder(
        self, fit_stage: Callable[..., int], loss: Callable[[Finder, MarkBatch], StepLoss], batch_size: int
    ) -> None:
        """Trains what is left trainable of SAM, and the throw-away head, on the marks of the scenes."""
        fit_stage(
            Finder(self.model.sam, self.head),
            MixedDataset([Part(SceneMarks(self.scenes), batch_size)]),
            collate=partial(collate_marks, processor=self.processor),
            loss=loss,
        )

    def referring(self, fit_stage: Callable[..., int]) -> None:
        """The marks that a sentence means."""
        config, model = self.config, self.model
        model.requires_grad_(False)
        model.sam.train_decoder()
        model.projection.requires_grad_(True)
        model.llava.llava.model.language_model.requires_grad_(True)
        model.llava.llava.model.multi_modal_projector.requires_grad_(True)

        def loss(mdlm: nn.Module, batch: GroundingBatch) -> StepLoss:
            logits = mdlm(batch)
            masks = mask_loss(logits, batch.masks, batch.valid, config.loss)
            return StepLoss(masks.total, {"bce": masks.bce, "dice": masks.dice}, logits)

        scenes = MixedDataset([Part(self.scenes, config.referring.batch_size)])
        fit_stage(model, scenes, collate=self.processor.collate, loss=loss)


def _save(model: MDLM, processor: MDLMProcessor, folder: Path) -> None:
    llava = folder / "llava"
    with writing(llava):
        model.llava.llava.save_pretrained(llava)
        processor.tokenizer.save_pretrained(llava)
    share(llava)
    for name, module in (("sam", model.sam), ("heads", model.projection)):
        with written_aside(folder / f"{name}.safetensors") as temporary:
            save_file({key: value.contiguous() for key, value in module.state_dict().items()}, temporary)
