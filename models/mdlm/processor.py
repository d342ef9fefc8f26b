"""From images, prompts and masks to the tensors of the MDLM, and from its logits back to native pixels.

Shapes: I images, N prompts in B conversations, L tokens, S side of SAM's input, M side of its logits, V side of the
vision tower's input, T tiles per image.

SAM's convention: the longer side is resized to S and the rest padded with zeros after normalisation. The vision
tower sees the whole image resized to a V×V square. A mask becomes the share of defect area in each of the M×M cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from data.sample import ImageArray, MaskArray
from data.training.grounding import GroundingItem
from models.mdlm.llava import IMAGE_TOKEN, SEG_TOKEN
from models.mdlm.sam import SAM_MEAN, SAM_STD
from models.mdlm.tiles import AnyresTiler


@dataclass(frozen=True, slots=True)
class GroundingBatch:
    """One batch.

    Attributes:
        ids: Names of the I images.
        pixels: (I, 3, S, S) float32, SAM's input.
        tiles: (I, 3, V, V) float32, the vision tower's input; with anyres (I, T, 3, V, V).
        tile_sizes: (I, 2), native height and width of each image; with anyres only.
        input_ids: (B, L), one conversation a row, padded on the right.
        attention_mask: (B, L), 0 on the padding.
        row_image: (B,), the image of each conversation.
        image_index: (N,), the image of each prompt.
        masks: (N, M, M) float32, share of defect area in 0..1.
        valid: (N, M, M) float32, share of the cell inside the image, 0 in SAM's padding.
    """

    ids: list[str]
    pixels: Tensor
    tiles: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    row_image: Tensor
    image_index: Tensor
    masks: Tensor
    valid: Tensor
    tile_sizes: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GroundingBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value
            for f in fields(self)
            for value in [getattr(self, f.name)]
        }
        return GroundingBatch(**moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class MDLMProcessor:
    """Turns items into batches; holds the sizes so that nobody else needs to.

    Attributes:
        tokenizer: LLaVA's, with [SEG].
        template: Chat format, see `LlavaConfig`.
        turn: Format of further turns, where the prompts of an image make one conversation; None keeps them apart.
        tiler: Cuts images into tiles (anyres); None shows each whole, as one tile.
        image_tokens: P, tokens per image.
        tile_size: V.
        sam_size: S.
        mask_size: M.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    image_tokens: int
    tile_size: int
    sam_size: int
    mask_size: int
    turn: str | None = None
    tiler: AnyresTiler | None = None

    def collate(self, items: Sequence[GroundingItem]) -> GroundingBatch:
        """Builds a batch of I items; N counts all their prompts. To predict, items may come without masks."""
        masks = [self.mask(mask) for item in items for mask in item.masks]
        valid = [self.mask(np.ones(item.image.shape[:2], bool)) for item in items]
        index = [position for position, item in enumerate(items) for _ in item.prompts]
        counts = [self.image_tokens if self.tiler is None else self.tiler.count(item.image) for item in items]
        if self.turn is None:
            rows = [([prompt], image) for image, item in enumerate(items) for prompt in item.prompts]
        else:
            rows = [(item.prompts, image) for image, item in enumerate(items) if item.prompts]
        input_ids, attention_mask = self._encode([self.write(prompts, counts[image]) for prompts, image in rows])
        tiles, tile_sizes = self._tiles([item.image for item in items])
        return GroundingBatch(
            ids=[item.id for item in items],
            pixels=torch.stack([self.pixels(item.image) for item in items]),
            tiles=tiles,
            tile_sizes=tile_sizes,
            input_ids=input_ids,
            attention_mask=attention_mask,
            row_image=torch.tensor([image for _, image in rows]),
            image_index=torch.tensor(index),
            masks=torch.stack(masks) if masks else torch.zeros(0, self.mask_size, self.mask_size),
            valid=torch.stack(valid)[torch.tensor(index)],
        )

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """One conversation per prompt, one tile per image: input ids and attention mask, both (N, L)."""
        return self._encode([self.write([prompt], self.image_tokens) for prompt in prompts])

    def write(self, prompts: Sequence[str], image_tokens: int) -> str:
        """Fills the chat template: a conversation about one image, with one [SEG] per prompt."""
        first, *others = prompts
        text = self.template.format(image=IMAGE_TOKEN * image_tokens, prompt=first, seg=SEG_TOKEN)
        return text + "".join((self.turn or "").format(prompt=prompt, seg=SEG_TOKEN) for prompt in others)

    def _encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        encoded = self.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        return encoded["input_ids"], encoded["attention_mask"]

    def _tiles(self, images: Sequence[ImageArray]) -> tuple[Tensor, Tensor | None]:
        if self.tiler is not None:
            return self.tiler.cut(images)
        return torch.stack([self._tile(image) for image in images]), None

    def to_native(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsamples logits to an image's own pixels, cutting SAM's padding off first.

        Args:
            logits: (M, M), before the sigmoid (probabilities would saturate between pixels).
            size: (H, W).

        Returns:
            (H, W) logits.
        """
        side = max(size)
        square = functional.interpolate(logits[None, None].float(), (side, side), mode="bilinear", align_corners=False)
        return square[0, 0, : size[0], : size[1]]

    def pixels(self, image: ImageArray) -> Tensor:
        """SAM's input of one image, (3, S, S)."""
        resized = _resize(image, self.sam_size)
        normalised = (resized.astype(np.float32) - np.array(SAM_MEAN, np.float32)) / np.array(SAM_STD, np.float32)
        return torch.from_numpy(_pad(normalised, self.sam_size).transpose(2, 0, 1).copy())

    def _tile(self, image: ImageArray) -> Tensor:
        resized = cv2.resize(image, (self.tile_size, self.tile_size), interpolation=cv2.INTER_AREA)
        mean, std = np.array(OPENAI_CLIP_MEAN, np.float32), np.array(OPENAI_CLIP_STD, np.float32)
        normalised = (resized.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(normalised.transpose(2, 0, 1).copy())

    def mask(self, mask: MaskArray) -> Tensor:
        """Share of defect area per cell of SAM's logits, (M, M), zero in the padding."""
        return torch.from_numpy(_pad(_resize(mask.astype(np.float32), self.mask_size), self.mask_size))


def _resize(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Resizes so that the longer side is `longest`, averaging areas when shrinking."""
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return pixels
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _pad(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.pad(pixels, [(0, side - height), (0, side - width)] + [(0, 0)] * (pixels.ndim - 2))
