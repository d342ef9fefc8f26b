"""From an image to what SAM and the vision tower see: resized on the CPU, kept as bytes, normalised where the model is.

Shapes: I images, S side of SAM's input, V side of the vision tower's.

SAM's input is resized as `segment_anything`'s own transform does it (longer side to S, bilinear with antialiasing), the
rest of the square is zero after normalisation. The vision tower sees the whole image as a V×V square, bicubic with
antialiasing as CLIP's processor resizes. Bytes are a quarter of what floats are on the way to a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from data.sample import ImageArray

SAM_MEAN = (123.675, 116.28, 103.53)  # of its input's channels, 0..255
SAM_STD = (58.395, 57.12, 57.375)


def fit_longer_side(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of an image whose longer side is brought to `longest`; halves are rounded up, as SAM does."""
    scale = longest / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def sam_input(image: ImageArray, side: int) -> tuple[Tensor, tuple[int, int]]:
    """SAM's input of one image, (3, S, S) uint8, zero in the padding; and the (height, width) that the image fills."""
    height, width = size = fit_longer_side(image.shape[:2], side)
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = _resize(image, size, Image.Resampling.BILINEAR)
    return torch.from_numpy(square).permute(2, 0, 1).contiguous(), size


def tower_input(image: ImageArray, side: int) -> Tensor:
    """The vision tower's input of one image, (3, V, V) uint8."""
    return torch.from_numpy(_resize(image, (side, side), Image.Resampling.BICUBIC)).permute(2, 0, 1).contiguous()


def normalise_for_sam(pixels: Tensor, filled: Tensor | None) -> Tensor:
    """(I, 3, S, S) uint8 → float32, zero outside of what each image fills.

    Args:
        pixels: From `sam_input`.
        filled: (I, 2), height and width that each image fills; None where all fill the square.
    """
    normalised = _normalise(pixels, SAM_MEAN, SAM_STD)
    if filled is None:
        return normalised
    places = torch.arange(pixels.shape[-1], device=pixels.device)
    rows, columns = (places < filled[:, axis, None] for axis in (0, 1))
    return normalised * (rows[:, :, None] & columns[:, None, :])[:, None]


def normalise_for_tower(pixels: Tensor) -> Tensor:
    """(…, 3, V, V) uint8 → float32."""
    scaled = pixels.float() / 255
    return _normalise(scaled, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)


def _normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    channels = pixels.float().unbind(-3)
    return torch.stack([(one - m) / s for one, m, s in zip(channels, mean, std, strict=True)], -3)


def _resize(image: ImageArray, size: tuple[int, int], resampling: Image.Resampling) -> ImageArray:
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], resampling))
