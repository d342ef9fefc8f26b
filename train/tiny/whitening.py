"""Where the vision tower starts: patches in decorrelated coordinates of equal size, so that fine marks count."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from data.tiny.scenes import make_scene
from models.tiny.batched_vision import patchify

SCENES = 200
FLOOR = 1e-3  # added to the variances: what is weaker is noise
GAIN = 0.5


@torch.no_grad()
def whiten_patches(model: nn.Module, *, image_size: int, patch_size: int, seed: int) -> None:
    """Sets the patch embedding to the leading principal components of scenes' patches, each scaled to one variance.

    Args:
        model: A `MiniCPMV4_6ForConditionalGeneration`.
        image_size: Side of its images.
        patch_size: Side of its patches.
        seed: Seed of the scenes.
    """
    core: Any = model
    embedding = core.model.vision_tower.embeddings.patch_embedding
    images = np.stack([make_scene(np.random.default_rng((seed, 2, i)), image_size).image for i in range(SCENES)])
    strip = patchify(torch.from_numpy(images), patch_size=patch_size)[0]  # (3, P, N·P)
    patches = strip.unflatten(-1, (-1, patch_size)).permute(2, 0, 1, 3).flatten(1)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    kept = min(embedding.out_channels, len(values))
    weight = GAIN * (vectors[:, -kept:] / (values[-kept:] + FLOOR).sqrt()).T
    embedding.weight[:kept] = weight.view(kept, *embedding.weight.shape[1:])
    embedding.bias[:kept] = -(weight @ mean)
