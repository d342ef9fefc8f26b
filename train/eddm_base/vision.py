"""The vision tower alone: it learns what is in every cell of the image, and to say it in the language model's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.captions import KINDS, Facts
from data.scene_pool import ScenePool, cell_kinds
from models.minicpmv import encode_images
from train.eddm_base.config import BaseConfig
from train.eddm_base.scenes import Scenes
from train.eddm_base.spelling import Spelling
from train.eddm_base.steps import Losses


class Seeing:
    """The vision tower with a head for the cells, which reads what the merger's last layer reads.

    Attributes:
        modules: What is trained.
    """

    def __init__(self, model: nn.Module, config: BaseConfig, spelling: Spelling) -> None:
        core: Any = model
        self._model, self._config, self._spelling = model, config, spelling
        last = core.model.merger.mlp[-1].linear_2
        self._inner: Tensor | None = None
        last.register_forward_pre_hook(self._keep)
        self.grid = config.model.image_size // config.model.patch_size  # cells a side: one a patch
        self.head = nn.Linear(last.in_features, 16 * (len(KINDS) + 1))  # a visual token covers 4 × 4 cells
        self.modules = nn.ModuleList([core.model.vision_tower, core.model.merger, self.head])

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._inner = inputs[0]

    def losses(self, images: Tensor, kinds: np.ndarray, facts: list[Facts]) -> Losses:
        """Looks at images.

        Args:
            images: (B, S, S, 3), 0..255.
            kinds: (B, S, S) as in `ScenePool`.
            facts: What is true of each image.

        Returns:
            `cells`, cross-entropy of what is in each; `spelling`, squared distance of the visual tokens to what they
            should say.
        """
        seen = encode_images(self._model, images)
        assert self._inner is not None
        cells = torch.from_numpy(cell_kinds(kinds, self.grid))
        batch, side, types = len(images), self.grid // 4, len(KINDS) + 1
        logits = self.head(self._inner).view(batch, side, side, 4, 4, types).transpose(2, 3).reshape(-1, types)
        weight = torch.ones(types)
        weight[0] = self._config.clean_weight
        target = self._spelling.spell(self._spelling.read(facts))
        distance = (seen - target).square().sum(-1).mean()
        return {
            "cells": (1.0, F.cross_entropy(logits, cells.reshape(-1), weight)),
            "spelling": (self._config.spelling_weight, distance),
        }


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
