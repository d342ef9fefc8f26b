"""SAM as SAA+ asks it: one mask a box.

Shapes: image (H, W, 3); boxes (N, 4) xyxy as shares of width and height; masks (N, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.sample import ImageArray, MaskArray
from models.mdlm.preprocess import fit_longer_side, sam_input
from models.mdlm.sam import Sam

BOXES = 32  # that are decoded together


class Segmenter:
    """Masks of boxes.

    Args:
        sam: A SAM; it is moved.
        device: Where it runs.
    """

    def __init__(self, sam: Sam, device: torch.device) -> None:
        self.sam, self.device = sam.eval().requires_grad_(False).to(device), device

    @torch.inference_mode()
    def embed(self, image: ImageArray) -> Tensor:
        """SAM's embedding of an image, (1, C, E, E)."""
        pixels, filled = sam_input(image, self.sam.image_size)
        return self.sam.encode(pixels[None].to(self.device), torch.tensor([filled], device=self.device))

    def segment(self, image: ImageArray, embedding: Tensor, boxes: Tensor) -> Iterator[MaskArray]:
        """One mask a box, (H, W) each, some decoded together.

        Args:
            image: The image.
            embedding: Of `embed`.
            boxes: (N, 4).
        """
        for part in boxes.split(BOXES):
            if len(part):
                yield from self._segment(image.shape[:2], embedding, part)

    @torch.inference_mode()
    def _segment(self, size: tuple[int, int], embedding: Tensor, boxes: Tensor) -> list[MaskArray]:
        height, width = fit_longer_side(size, self.sam.image_size)
        corners = boxes.to(self.device) * torch.tensor([width, height, width, height], device=self.device)
        sparse, dense = self.sam.prompt_encoder(points=None, boxes=corners, masks=None)
        logits, _ = self.sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.sam.positions(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        side = (self.sam.image_size,) * 2
        square = F.interpolate(logits, side, mode="bilinear", align_corners=False)[..., :height, :width]
        masks = F.interpolate(square, size, mode="bilinear", align_corners=False)[:, 0] > 0
        return [np.asarray(mask) for mask in masks.cpu().numpy()]
