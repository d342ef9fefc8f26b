"""Trains the base: language and vision apart, in any order or side by side, then reading what is seen."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedTokenizerFast

from data.ddqa.regions import REGIONS
from data.ddqa.tasks import LETTERS
from data.ddqa.vocabulary import all_names
from data.files import make_dir
from data.processes.aside import written_aside
from data.tiny.captions import KINDS, corpus
from models.tiny.batched_vision import batched_vision
from models.tiny.minicpmv import build_model, build_processor, build_tokenizer, save_checkpoint
from train.engine.durable import replace_durably, sync_tree
from train.engine.identity import Identity, settings_of
from train.engine.launch import fast_products
from train.engine.progress import join_logs
from train.engine.resume import Resume
from train.engine.stage import Stage, claim, finish
from train.engine.stop import Stop
from train.tiny.config import BaseConfig
from train.tiny.language import LanguageLoss, Reader
from train.tiny.reading import ReadingLoss
from train.tiny.scenes import Scenes
from train.tiny.spelling import Spelling
from train.tiny.steps import Steps, make_optimizers
from train.tiny.vision import MERGED, Seeing, VisionLoss
from train.tiny.whitening import whiten_patches

log = logging.getLogger(__name__)

READING = "reading"


class Part(StrEnum):
    """A part that can be trained by itself."""

    language = "language"
    vision = "vision"


def tiny_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the generic language; names of regions and of known defects are one token each."""
    units = ["No", "Yes", *REGIONS, *sorted({*all_names(), *KINDS})]
    options = [f"\n{letter}. {unit}" for letter in LETTERS for unit in units]
    words = [form for unit in units for form in (unit, f" {unit}")]
    return build_tokenizer([*corpus(), *(3 * options), *(3 * words)], units=units, vocab_size=vocab_size)


def train_part(
    config: BaseConfig,
    folder: Path,
    part: Part,
    *,
    seed: int,
    resume: Resume = Resume.auto,
    stop: Stop | None = None,
) -> None:
    """Trains one part by itself and keeps it beside `folder` until the base is put together; skips it when it is there.

    Args:
        config: How.
        folder: Where the finished base will go.
        part: Which part.
        seed: Seed of weights, scenes and questions.
        resume: `never` trains the part anew.
        stop: Whether SIGTERM came.

    Raises:
        UserError: If the part of another base is there.
    """
    stage, identity = _part_stage(folder, part), _identity(config, seed)
    if claim(_base_stage(folder), identity, resume) or claim(stage, identity, resume):
        log.info("EDDM base: %s is already trained with this configuration", part)
        return
    bench = _Bench(config, folder, seed, stop=stop)
    if part is Part.vision:
        bench.whiten()  # in full precision
    with fast_products(config.fast_matmul), batched_vision(bench.model):
        bench.train(part)
    finish(stage, identity, {"part": part.value})
    shutil.rmtree(stage.work)


def train_base(
    config: BaseConfig,
    folder: Path,
    *,
    seed: int,
    log_to: Path,
    resume: Resume = Resume.auto,
    stop: Stop | None = None,
) -> None:
    """Trains the parts that are missing, then reading, and writes the base to `folder`; skips it when it is there.

    Args:
        config: How.
        folder: Where the finished checkpoint goes. `<folder>.parts` beside it holds the parts until it is there.
        seed: Seed of weights, scenes and questions.
        log_to: Log that gets the rows of all parts.
        resume: `never` trains everything anew.
        stop: Whether SIGTERM came.

    Raises:
        UserError: If another base is there.
    """
    stage, identity, started = _base_stage(folder), _identity(config, seed), time.monotonic()
    if claim(stage, identity, resume):
        log.info("EDDM base: already trained with this configuration")
        shutil.rmtree(parts_of(folder), ignore_errors=True)
        return
    for part in Part:
        train_part(config, folder, part, seed=seed, resume=resume, stop=stop)
    bench = _Bench(config, folder, seed, stop=stop)
    with fast_products(config.fast_matmul), batched_vision(bench.model):
        bench.train_reading()
    join_logs(log_to, {name: bench.log_of(name) for name in (*Part, READING)})
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(partial, bench.model, build_processor(config.model, bench.tokenizer))
    sync_tree(partial)
    shutil.rmtree(folder, ignore_errors=True)
    replace_durably(partial, folder)
    finish(stage, identity, {"config": asdict(config), "seed": seed})
    shutil.rmtree(parts_of(folder), ignore_errors=True)
    log.info("EDDM base: trained in %.0f s", time.monotonic() - started)


def _identity(config: BaseConfig, seed: int) -> Identity:
    return Identity(settings_of({"eddm": asdict(config), "seed": seed}, without=["eddm.save_every"]))


def _base_stage(folder: Path) -> Stage:
    return Stage(
        name="EDDM base",
        done=folder.with_suffix(".json"),
        identity=folder.with_suffix(".identity.json"),
        work=parts_of(folder) / READING,
        result=folder / "model.safetensors",
    )


def _part_stage(folder: Path, part: Part) -> Stage:
    parts = parts_of(folder)
    return Stage(
        name=f"EDDM base, {part}",
        done=parts / f"{part}.json",
        identity=parts / f"{part}.identity.json",
        work=parts / part,
        result=_weights(folder, part),
    )


def parts_of(folder: Path) -> Path:
    """Where the parts of a base lie until it is put together."""
    return folder.with_suffix(".parts")


def _weights(folder: Path, part: Part) -> Path:
    return parts_of(folder) / f"{part}.safetensors"


class _Bench:
    """The model in the making, with what each part of it needs."""

    def __init__(self, config: BaseConfig, folder: Path, seed: int, *, stop: Stop | None) -> None:
        self.config, self.folder, self.seed, self.stop = config, folder, seed, stop
        self.parts = make_dir(parts_of(folder))
        torch.manual_seed(seed)
        self.tokenizer = tiny_tokenizer(config.model.vocab_size)
        self.model = build_model(config.model, self.tokenizer)
        side = config.model.image_size // config.model.patch_size // MERGED
        self.spelling = Spelling(self.model, self.tokenizer, side)
        self.reader = Reader(self.model, self.tokenizer, side**2)
        self.seeing = Seeing(self.model, config, self.spelling)
        self.model.train()

    def log_of(self, part: str) -> Path:
        """Where a part's log rows wait for the base's."""
        return self.parts / f"{part}.jsonl"

    def whiten(self) -> None:
        """Sets where the vision tower starts."""
        sizes = self.config.model
        whiten_patches(self.model, image_size=sizes.image_size, patch_size=sizes.patch_size, seed=self.seed)

    def train(self, part: Part) -> None:
        """Trains one part and writes its weights."""
        config, module = self.config, self._module(part)
        if part is Part.language:
            optimizers = make_optimizers(module, config.matrix_lr, config.other_lr, config.weight_decay)
            steps = self._steps(part, config.language_steps, module, optimizers)
            with explicit_attention(self.model):
                steps.run(LanguageLoss(config, self.reader, self.spelling), lambda share: [falling(share, 0.5)] * 2)
        else:
            optimizers = make_optimizers(module, config.matrix_lr, config.vision_lr, config.weight_decay)
            steps = self._steps(part, config.vision_steps, module, optimizers)
            with self._scenes(config.scenes.count) as scenes:
                steps.run(VisionLoss(config, self.seeing, scenes), lambda share: [falling(share, 0.45)] * 2)
        target = _weights(self.folder, part)
        with written_aside(target) as temporary:
            save_file(module.state_dict(), temporary)

    def train_reading(self) -> None:
        """Loads both parts and trains the language model to read the vision tower.

        On scenes that the tower has not been trained on: there it errs as it will on products.
        """
        config = self.config
        for part in Part:
            self._module(part).load_state_dict(load_file(_weights(self.folder, part)))
        module = self._module(Part.language)
        optimizers = make_optimizers(module, config.matrix_lr, config.other_lr, config.weight_decay)
        steps = self._steps(READING, config.reading_steps, module, optimizers)
        with (
            self._scenes(config.reading_scenes, first=config.scenes.count) as scenes,
            explicit_attention(self.model),
        ):
            steps.run(
                ReadingLoss(config, self.reader, scenes),
                lambda share: [config.reading_lr * falling(share, 0.0)] * 2,
            )

    def _module(self, part: Part) -> nn.Module:
        return self.model.model.language_model if part is Part.language else self.seeing.modules

    def _steps(self, part: str, count: int, module: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Steps:
        return Steps(
            part,
            count,
            module,
            optimizers,
            checkpoints=self.parts / part,
            identity=_identity(self.config, self.seed).fingerprint,
            seed=self.seed,
            save_every=self.config.save_every,
            log_to=self.log_of(part),
            stop=self.stop,
        )

    def _scenes(self, count: int, first: int = 0) -> Scenes:
        return Scenes(self.config.scenes, count=count, size=self.config.model.image_size, seed=self.seed, first=first)


def falling(share: float, flat: float) -> float:
    """Factor on a learning rate: 1 for the first `flat` of the steps, then linearly down to a fiftieth."""
    return 0.02 + 0.98 * min(1.0, (1 - share) / (1 - flat))


@contextmanager
def explicit_attention(model: Any) -> Iterator[None]:
    """Within the block the language model computes attention explicitly: rows are short, and it is fastest so."""
    config = model.model.language_model.config
    before, config._attn_implementation = config._attn_implementation, "eager"
    try:
        yield
    finally:
        config._attn_implementation = before
