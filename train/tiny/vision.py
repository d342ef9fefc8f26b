"""The vision tower alone: it learns what is in every cell of the image, and to say it in the language model's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.tiny.captions import KINDS, Facts
from data.tiny.pool import ScenePool, cell_kinds
from models.tiny.batched_vision import encode_images
from train.tiny.config import BaseConfig
from train.tiny.scenes import Scenes
from train.tiny.spelling import Spelling
from train.tiny.steps import Losses

TYPES = len(KINDS) + 1  # of a cell: clean, or a kind of mark
MERGED = 4  # cells across a visual token


class Seeing:
    """The vision tower with heads that say what is in every cell.

    One head reads what the merger's last layer reads. The others read what the tower's inner layers leave off: each
    layer learns from a loss right behind it, in far fewer steps than from the far end alone.

    Attributes:
        grid: Cells a side; one a patch.
        modules: What is trained, the heads included. They are not part of the model.
    """

    def __init__(self, model: nn.Module, config: BaseConfig, spelling: Spelling) -> None:
        core: Any = model
        sizes = config.model
        self._model, self._config, self._spelling = model, config, spelling
        self.grid = sizes.image_size // sizes.patch_size
        self._last = core.model.merger.mlp[-1].linear_2
        inner = range(1, sizes.vision_layers - 1)
        self._inner = [core.model.vision_tower.encoder.layers[index] for index in inner]
        self._across = [1 if index <= sizes.insert_layer else 2 for index in inner]  # cells across one of its tokens
        self._head = nn.Linear(self._last.in_features, MERGED**2 * TYPES)
        self._inner_heads = nn.ModuleList([nn.Linear(sizes.vision_hidden, n * n * TYPES) for n in self._across])
        self.modules = nn.ModuleList([core.model.vision_tower, core.model.merger, self._head, self._inner_heads])

    def losses(self, images: Tensor, kinds: np.ndarray, facts: list[Facts]) -> Losses:
        """Looks at images.

        Args:
            images: (B, S, S, 3), 0..255.
            kinds: (B, S, S) as in `ScenePool`.
            facts: What is true of each image.

        Returns:
            `cells`, cross-entropy of what is in each; `depth`, the same of the inner layers, on average; `spelling`,
            squared distance of the visual tokens to what they should say.
        """
        config = self._config
        with self._listening() as (last, inner):
            seen = encode_images(self._model, images)
        cells = torch.from_numpy(cell_kinds(kinds, self.grid))
        target = self._spelling.spell(self._spelling.read(facts))
        losses = {
            "cells": (1.0, self._cell_loss(self._head(last[0]), cells, across=MERGED)),
            "spelling": (config.spelling_weight, (seen - target).square().sum(-1).mean()),
        }
        if inner:
            read = zip(self._inner_heads, inner, self._across, strict=True)
            depth = [self._cell_loss(head(hidden), cells, across=across) for head, hidden, across in read]
            losses["depth"] = (config.depth_weight, torch.stack(depth).mean())
        return losses

    @contextmanager
    def _listening(self) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        """Collects what the heads read: of the merger's last layer, and of the inner layers."""
        last: list[Tensor] = []
        inner: list[Tensor] = []
        hooks = [self._last.register_forward_pre_hook(lambda module, inputs: last.append(inputs[0]))]
        hooks += [layer.register_forward_hook(lambda module, inputs, out: inner.append(out)) for layer in self._inner]
        try:
            yield last, inner
        finally:
            for hook in hooks:
                hook.remove()

    def _cell_loss(self, said: Tensor, cells: Tensor, *, across: int) -> Tensor:
        """Cross-entropy of logits for `across` × `across` cells a token, tokens row by row, with (B, grid, grid)."""
        side = self.grid // across
        grid = said.reshape(len(cells), side, side, across, across, TYPES).transpose(2, 3)
        weight = torch.ones(TYPES)
        weight[0] = self._config.clean_weight
        return F.cross_entropy(grid.reshape(-1, TYPES), cells.reshape(-1), weight)


class VisionLoss:
    """Losses of a step of the vision tower alone."""

    def __init__(self, config: BaseConfig, seeing: Seeing, scenes: Scenes) -> None:
        self._config, self._seeing, self._scenes = config, seeing, scenes

    def __call__(self, rng: np.random.Generator, share: float) -> Losses:
        """Any scenes, crowded ones included."""
        scenes = self._scenes.at(share)
        chosen = rng.integers(0, len(scenes.facts), self._config.vision_batch)
        images, kinds, facts = show(scenes, chosen, rng)
        return self._seeing.losses(recolour(images, rng), kinds, facts)


def recolour(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Other colours for each image: its channels in another order, each a little brighter or darker.

    Args:
        images: (B, H, W, 3), 0..255.
        rng: Source of the colours.

    Returns:
        The same as float32; the images are left as they are.
    """
    batch = len(images)
    order = torch.from_numpy(np.argsort(rng.random((batch, 3)), axis=1))
    gains = torch.from_numpy(rng.uniform(0.8, 1.2, (batch, 1)) * rng.uniform(0.9, 1.1, (batch, 3)))
    channels = torch.from_numpy(images).permute(0, 3, 1, 2)[torch.arange(batch)[:, None], order]
    return (channels * gains.float()[..., None, None]).clamp_(max=255).permute(0, 2, 3, 1)


def show(scenes: ScenePool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[Facts]]:
    """Some scenes, each under one of the eight symmetries: images, kinds and facts."""
    views = [scenes.view(int(index), int(rng.integers(8))) for index in chosen]
    return np.stack([image for image, _, _ in views]), np.stack([k for _, k, _ in views]), [f for _, _, f in views]
