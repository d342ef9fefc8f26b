"""Trains the tiny MiniCPM-V in full on generic scenes: what a pre-trained base is to the paper.

Three stages, as large multimodal models are made. First the language model alone, with words in the place of what it
will see: the sum of the embeddings of a region and of what is there stands for a visual token. Then the vision tower
alone: it is told at every cell what is there; its tokens are then aligned with those words. Then both together on
questions about images. The heads for the cells are thrown away.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import MiniCPMV4_6ForConditionalGeneration, PreTrainedTokenizerFast

from data.captions import KINDS, Facts, Turn, corpus, make_turns, random_facts
from data.ddqa.regions import REGIONS, region_of
from data.ddqa.tasks import LETTERS
from data.ddqa.vocabulary import all_names
from data.scene_pool import ScenePool, ScenePoolConfig, cell_kinds, draw_pool
from models.minicpmv import batched_vision, encode_images
from models.tiny.minicpmv import (
    TinyMiniCPMVConfig,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
)
from train.packing import IGNORED, encode, pack

log = logging.getLogger(__name__)
PLACE_WEIGHT = 0.05
JOINT_VISION = 0.1  # the vision tower's learning rate in the joint stage, relative to its peak
ALIGN_SCENES = 1000
KEPT_SHARE = 0.2  # size of what words cannot say, relative to what they can
USER_START = "<|im_start|>user\n"
Rows = Callable[[dict[str, Any]], None]


@dataclass(kw_only=True, slots=True)
class BaseConfig:
    """How the base is trained.

    Attributes:
        model: Sizes.
        scenes: Generic scenes.
        language_steps: Steps of the language model alone.
        vision_steps: Steps of the vision tower alone.
        joint_steps: Steps of both.
        batch_size: Images a step.
        language_batch: Texts a step of the language model alone.
        turns: Questions an image.
        matrix_lr: Peak learning rate of the weight matrices (Muon, scaled to AdamW's size of update).
        other_lr: Peak learning rate of everything else in the language model (AdamW).
        vision_lr: Peak learning rate of everything else in the vision tower (AdamW).
        weight_decay: Of the weight matrices.
        dense_weight: Weight of the loss at every cell while both are trained.
        clean_weight: Weight of a cell without a mark in that loss.
        fast_matmul: Let float32 products run on the CPU's bfloat16 units where it has them.
        save_every: Steps between checkpoints to resume from.
    """

    model: TinyMiniCPMVConfig = field(default_factory=TinyMiniCPMVConfig)
    scenes: ScenePoolConfig = field(default_factory=ScenePoolConfig)
    language_steps: int = 300
    vision_steps: int = 500
    joint_steps: int = 300
    batch_size: int = 16
    language_batch: int = 32
    turns: int = 3
    matrix_lr: float = 4e-3
    other_lr: float = 4e-3
    vision_lr: float = 1e-3
    weight_decay: float = 0.05
    dense_weight: float = 1.0
    clean_weight: float = 0.3
    fast_matmul: bool = True
    save_every: int = 200

    @property
    def steps(self) -> int:
        """All steps."""
        return self.language_steps + self.vision_steps + self.joint_steps


def tiny_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the generic language; names of regions and of known defects are one token each."""
    units = ["No", "Yes", *REGIONS, *all_names()]
    options = [f"\n{letter}. {unit}" for letter in LETTERS for unit in units]
    words = [form for unit in units for form in (unit, f" {unit}")]
    return build_tokenizer([*corpus(), *(3 * options), *(3 * words)], units=units, vocab_size=vocab_size)


def train_base(config: BaseConfig, folder: Path, *, seed: int, row: Rows) -> None:
    """Trains the base and writes it to `folder`; goes on from the last checkpoint of an interrupted run.

    Args:
        config: How.
        folder: Where the finished checkpoint goes; `<folder>.resume.pt` beside it holds the state until then.
        seed: Seed of weights, scenes and questions.
        row: Called with every log row.
    """
    with ProcessPoolExecutor(1) as pool, fast_math(config.fast_matmul):
        size = config.model.image_size
        scenes = pool.submit(draw_pool, config.scenes, size=size, seed=seed)
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer(config.model.vocab_size)
        model = build_model(config.model, tokenizer)
        trainer = _Trainer(config, model, tokenizer, seed)
        trainer.resume(folder.with_suffix(".resume.pt"))
        trainer.run(scenes, folder.with_suffix(".resume.pt"), row)
    save_checkpoint(folder, model, build_processor(config.model, tokenizer))
    folder.with_suffix(".resume.pt").unlink(missing_ok=True)


class _Trainer:
    """Model, head, optimizers and the step they have reached."""

    def __init__(
        self,
        config: BaseConfig,
        model: MiniCPMV4_6ForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
    ) -> None:
        self.config, self.tokenizer, self.seed = config, tokenizer, seed
        self.model: Any = model
        self.grid = config.model.image_size // config.model.patch_size  # cells a side: one a patch
        self.tokens = (self.grid // 4) ** 2
        self.head = nn.Linear(config.model.text_hidden, 16 * (len(KINDS) + 1))
        self.place_head = nn.Linear(config.model.text_hidden, len(REGIONS))
        self.kind_ids, self.region_ids = (
            torch.tensor([ids for (ids,) in encode(tokenizer, [f" {name}" for name in names])])
            for names in (KINDS, REGIONS)
        )
        ((self.mark_id,),) = encode(tokenizer, [" mark"])
        side = self.grid // 4
        places = [((column + 0.5) / side, (row + 0.5) / side) for row in range(side) for column in range(side)]
        self.places = torch.tensor([REGIONS.index(region_of(place, (1, 1))) for place in places])  # region of a token
        self.language = _optimizers(model.model.language_model, config.matrix_lr, config.other_lr, config.weight_decay)
        looking = nn.ModuleList([model.model.vision_tower, model.model.merger, self.head, self.place_head])
        self.vision = _optimizers(looking, config.matrix_lr, config.vision_lr, config.weight_decay)
        self.done = 0
        image = "<image>" + "<|image_pad|>" * self.tokens + "</image>\n"
        (self.image_prefix,) = encode(tokenizer, [USER_START + image])

    def run(self, scenes: Future[ScenePool], checkpoint: Path, row: Rows) -> None:
        """Runs the remaining steps."""
        config = self.config
        self.model.train()
        self.model.model.language_model.config._attn_implementation = "eager"  # short rows: explicit is fastest
        running: dict[str, float] = {}
        spoken = time.monotonic()
        while self.done < config.steps:
            stage = self._stage(self.done)
            if stage != "language" and not scenes.done():
                log.info("EDDM base: waiting for the scenes …")
            if stage == "joint" and self.done == config.language_steps + config.vision_steps:
                self._align(scenes.result())
            losses = self._step(stage, None if stage == "language" else scenes.result())
            self.done += 1
            for name, value in losses.items():
                running[name] = 0.95 * running.get(name, value) + 0.05 * value
            if self.done % 10 == 0 or self.done == config.steps:
                row({"stage": "base", "part": stage, "step": self.done, **losses})
            if time.monotonic() - spoken > 5 or self.done == config.steps:
                spoken = time.monotonic()
                text = ", ".join(f"{name} {value:.3f}" for name, value in running.items())
                log.info("EDDM base: step %d of %d (%s), %s", self.done, config.steps, stage, text)
            if self.done % config.save_every == 0:
                self._save(checkpoint)
        self.model.model.language_model.config._attn_implementation = "sdpa"

    def resume(self, path: Path) -> None:
        """Loads the state of an interrupted run of the same configuration, if there is one."""
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["config"] != repr(asdict(self.config)) or state["seed"] != self.seed:
            return
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.place_head.load_state_dict(state["place_head"])
        for optimizer, values in zip([*self.language, *self.vision], state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.done = state["step"]
        log.info("EDDM base: going on from step %d", self.done)

    def _save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "config": repr(asdict(self.config)),
            "seed": self.seed,
            "step": self.done,
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "place_head": self.place_head.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in (*self.language, *self.vision)],
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def _stage(self, step: int) -> str:
        if step < self.config.language_steps:
            return "language"
        return "vision" if step < self.config.language_steps + self.config.vision_steps else "joint"

    def _step(self, stage: str, scenes: ScenePool | None) -> dict[str, float]:
        config = self.config
        rng = np.random.default_rng((self.seed, 1, self.done))
        start = config.language_steps
        losses: dict[str, Tensor] = {}
        if scenes is None:
            progress = self.done / max(config.language_steps, 1)
            self._set_rates(self.language, self.done, min(1.0, 2 - 2 * progress) * 0.9 + 0.1)
            losses["language"] = self._language_loss(rng)
            active = self.language
        else:
            step = self.done - start
            share = min(1.0, step / max(config.vision_steps, 1))
            fade = 1 - max(0.0, (self.done - start - config.vision_steps) / max(config.joint_steps, 1))
            seeing = min(1.0, 1.9 * (1 - share) + JOINT_VISION) * fade + 0.01
            self._set_rates(self.vision, step, seeing)
            self._set_rates(self.language, step - config.vision_steps, 0.5 * fade + 0.01)
            losses.update(self._image_losses(scenes, rng, stage == "joint"))
            active = [*self.vision, *self.language] if stage == "joint" else self.vision
        seeing = config.dense_weight if stage == "joint" else 1.0
        shares = {"language": 1.0, "answers": 1.0, "dense": seeing, "place": PLACE_WEIGHT * seeing}
        loss = torch.stack([shares[name] * value for name, value in losses.items()]).sum()
        for optimizer in active:
            optimizer.zero_grad()
        loss.backward()
        parameters = [p for optimizer in active for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in active:
            optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    @staticmethod
    def _set_rates(optimizers: list[torch.optim.Optimizer], step: int, factor: float) -> None:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor * min(1.0, (step + 1) / 30)

    def _language_loss(self, rng: np.random.Generator) -> Tensor:
        facts = [random_facts(rng) for _ in range(self.config.language_batch)]
        turns = [make_turns(item, rng, self.config.turns, boxes=False, open_share=0.1) for item in facts]
        return self._answer_loss(turns, self._spell(facts))

    def _spell(self, facts: list[Facts]) -> Tensor:
        """Visual tokens made of words, (B, T, D): each region, and what is there."""
        words = self.model.get_input_embeddings().weight
        spelled = words[self.region_ids[self.places]].repeat(len(facts), 1, 1)
        side = self.grid // 4
        where = torch.zeros(len(facts), self.tokens, len(KINDS))
        for row, item in enumerate(facts):
            for mark in item.marks:
                column, line = (
                    min(int(side * value / size), side - 1)
                    for value, size in zip(mark.centre, reversed(item.size), strict=True)
                )
                where[row, side * line + column, KINDS.index(mark.kind)] = 1
        marked = (where.sum(-1, keepdim=True) > 0).float()
        return spelled + where @ words[self.kind_ids] + marked * words[self.mark_id]

    def _image_losses(self, scenes: ScenePool, rng: np.random.Generator, joint: bool) -> dict[str, Tensor]:
        chosen = rng.integers(0, len(scenes.facts), self.config.batch_size).tolist()
        views = [scenes.view(index, int(rng.integers(8))) for index in chosen]
        images = torch.from_numpy(np.stack([image for image, _, _ in views]))
        cells = torch.from_numpy(cell_kinds(np.stack([kinds for _, kinds, _ in views]), self.grid))
        seen = encode_images(self.model, images)
        losses = {"dense": self._dense_loss(seen, cells), "place": self._place_loss(seen)}
        if joint:
            turns = [make_turns(facts, rng, self.config.turns) for _, _, facts in views]
            losses["answers"] = self._answer_loss(turns, seen)
        return losses

    def _dense_loss(self, seen: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy of what is in each cell; `seen` (B, T, D), `cells` (B, G, G)."""
        batch, side, kinds = len(seen), self.grid // 4, len(KINDS) + 1
        logits = self.head(seen).view(batch, side, side, 4, 4, kinds).transpose(2, 3).reshape(-1, kinds)
        weight = torch.ones(kinds)
        weight[0] = self.config.clean_weight
        return F.cross_entropy(logits, cells.reshape(-1), weight)

    def _place_loss(self, seen: Tensor) -> Tensor:
        """Cross-entropy of the region of each visual token, so that tokens keep knowing where they are."""
        return F.cross_entropy(self.place_head(seen).flatten(0, 1), self.places.repeat(len(seen)))

    @torch.no_grad()
    def _align(self, scenes: ScenePool) -> None:
        """Turns visual tokens into the language model's words, by least squares folded into the merger's last layer.

        What the words cannot say (where exactly, how large) is kept in the directions that no word uses.
        """
        count = min(len(scenes.facts), ALIGN_SCENES)
        seen = torch.cat(
            [encode_images(self.model, torch.from_numpy(scenes.images[i : i + 50])) for i in range(0, count, 50)]
        )
        spelled = self._spell(scenes.facts[: len(seen)]).flatten(0, 1)
        seen = seen[: len(scenes.facts)].flatten(0, 1)
        words = self.model.get_input_embeddings().weight
        centre, goal = seen.mean(0), spelled.mean(0)
        marked = (spelled - words[self.region_ids[self.places]].repeat(len(seen) // self.tokens, 1)).abs().sum(1) > 1e-6
        weight = torch.where(marked, (~marked).sum() / marked.sum().clamp(min=1), 1.0).sqrt().unsqueeze(1)
        inputs, outputs = (seen - centre) * weight, (spelled - goal) * weight
        ridge = 1e-3 * inputs.square().mean() * len(inputs) * torch.eye(inputs.shape[1])
        fit = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outputs).T  # (D, D): spelled from seen
        used = torch.linalg.qr(words[torch.cat([self.kind_ids, self.region_ids, torch.tensor([self.mark_id])])].T).Q
        rest = torch.eye(len(centre)) - used @ used.T
        rest *= KEPT_SHARE * spelled.std() / ((seen - centre) @ rest).std()
        move = fit + rest
        shift = goal - move @ centre
        last = self.model.model.merger.mlp[-1].linear_2
        last.bias.copy_(move @ last.bias + shift)
        last.weight.copy_(move @ last.weight)
        moved = (seen - centre) @ move.T
        ridge = 1e-3 * moved.square().mean() * len(moved) * torch.eye(len(centre))
        back = torch.linalg.solve(moved.T @ moved + ridge, moved.T @ (seen - centre)).T  # the heads' way back
        for head in (self.head, self.place_head):
            head.bias.add_(head.weight @ (centre - back @ goal))
            head.weight.copy_(head.weight @ back)

    def _answer_loss(self, turns: list[list[Turn]], seen: Tensor) -> Tensor:
        """Loss of the answers to the questions about B images, given their visual tokens, (B, T, D)."""
        packed = pack(self.tokenizer, [self.image_prefix] * len(turns), turns)
        embedded = self.model.get_input_embeddings()(packed.ids)
        where = (packed.ids == self.model.config.image_token_id).unsqueeze(-1)
        hidden = self.model.model.language_model(
            inputs_embeds=embedded.masked_scatter(where, seen.to(embedded.dtype)),
            attention_mask=packed.bias,
            position_ids=packed.positions,
            use_cache=False,
        ).last_hidden_state
        chosen = packed.labels != IGNORED
        logits = self.model.lm_head(hidden[chosen])
        weights = packed.weights[chosen]
        losses = F.cross_entropy(logits, packed.labels[chosen], reduction="none")
        return (losses * weights).sum() / weights.sum()


def _optimizers(
    module: nn.Module, matrix_lr: float, other_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices inside the network, AdamW for embeddings, norms, biases and the head."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        inner = parameter.ndim == 2 and "embed" not in name and min(parameter.shape) >= 48
        (matrices if inner else others).append(parameter)
    optimizers = [
        torch.optim.Muon(matrices, lr=matrix_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", ns_steps=3),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


@contextmanager
def fast_math(enabled: bool) -> Iterator[None]:
    """Within the block: dense vision batches and, if enabled, bfloat16 products of float32 matrices on the CPU."""
    products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16" if enabled else before
    try:
        with batched_vision():
            yield
    finally:
        products.fp32_precision = before
