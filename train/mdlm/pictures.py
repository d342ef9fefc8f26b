"""What the model sees in a training batch, as one picture an image: the image | its true mask | the predicted mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.sample import ImageArray


def draw_masks(batch: Any, logits: Tensor, *, count: int) -> list[ImageArray]:
    """Draws the first prompts of a batch from what the training step computed anyway.

    Args:
        batch: Has `pixels` (I, 3, S, S), uint8, SAM's input, `masks` (N, M, M) in 0..1 and `image_index` (N,).
        logits: (N, M, M), before the sigmoid.
        count: At most so many pictures.

    Returns:
        (S, 3·S, 3) uint8 RGB each; masks from black (0) to white (1).
    """
    pictures = []
    for position in range(min(count, len(logits))):
        image = batch.pixels[batch.image_index[position]].float().cpu()
        side = image.shape[-1]
        masks = torch.stack([batch.masks[position].float(), logits[position].detach().float().sigmoid()]).cpu()
        large = functional.interpolate(masks[:, None], (side, side), mode="bilinear", align_corners=False)
        panels = [image, *(mask.expand(3, side, side) * 255 for mask in large)]
        row = torch.cat(panels, dim=2).round().clamp(0, 255)
        pictures.append(row.permute(1, 2, 0).numpy().astype(np.uint8))
    return pictures
