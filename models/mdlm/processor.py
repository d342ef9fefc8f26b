"""From images, prompts and masks to the tensors of the MDLM, and from its logits back to native pixels.

Shapes: I images, N prompts in B conversations, L tokens, S side of SAM's input, M side of its logits, V side of the
vision tower's input, T tiles per image.

How images are resized: `models.mdlm.preprocess`. A mask becomes the share of defect area in each of the M×M cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from data.sample import ImageArray, MaskArray
from data.training.grounding import GroundingItem
from models.mdlm.llava import IMAGE_TOKEN, SEG_TOKEN
from models.mdlm.places import Places, find_places
from models.mdlm.preprocess import fit_longer_side, sam_input, tower_input
from models.mdlm.tiles import AnyresTiler


@dataclass(frozen=True, slots=True)
class GroundingBatch:
    """One batch.

    Attributes:
        ids: Names of the I images.
        pixels: (I, 3, S, S) uint8, SAM's input before normalisation.
        tiles: (I, 3, V, V) uint8, the vision tower's input before normalisation; with anyres (I, T, 3, V, V) float32,
            normalised.
        tile_sizes: (I, 2), native height and width of each image, which stay on the CPU: they steer code; with anyres
            only.
        filled: (I, 2), height and width that each image fills of SAM's square; None where all fill it.
        input_ids: (B, L), one conversation a row, padded on the right.
        attention_mask: (B, L), 0 on the padding.
        row_image: (B,), the image of each conversation.
        image_index: (N,), the image of each prompt.
        masks: (N, M, M) float32, share of defect area in 0..1.
        valid: (N, M, M) float32, share of the cell inside the image, 0 in SAM's padding.
        places: Where the special tokens are; None looks for them on the device.
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
    filled: Tensor | None = None
    places: Places | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GroundingBatch:
        """The same batch on another device."""
        return self._change(lambda value: value.to(device, non_blocking=non_blocking), but="tile_sizes")

    def pin_memory(self) -> GroundingBatch:
        """The same batch in memory that a GPU can read while the CPU goes on; the data loader calls it."""
        return self._change(lambda value: value.pin_memory())

    def _change(self, change: Callable[[Any], Any], but: str = "") -> GroundingBatch:
        """The same batch with every tensor changed, except the field that is named."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != but}
        return replace(self, **{n: change(v) for n, v in values.items() if isinstance(v, Tensor | Places)})


@dataclass(frozen=True, slots=True)
class ReadyImage:
    """An image as a loading thread leaves it for a batch: small, and in bytes.

    Attributes:
        size: Native (height, width).
        pixels: (3, S, S) uint8, SAM's input.
        filled: Height and width that the image fills of it.
        tile: (3, V, V) uint8, the vision tower's input; None with anyres.
        image: (H, W, 3), with anyres only, which cuts a batch together.
    """

    size: tuple[int, int]
    pixels: Tensor
    filled: tuple[int, int]
    tile: Tensor | None = None
    image: ImageArray | None = None


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
        seg_id: Token id of [SEG].
        image_id: Token id of an image's placeholder.
    """

    tokenizer: PreTrainedTokenizerBase
    template: str
    image_tokens: int
    tile_size: int
    sam_size: int
    mask_size: int
    seg_id: int
    image_id: int
    turn: str | None = None
    tiler: AnyresTiler | None = None

    def collate(self, items: Sequence[GroundingItem]) -> GroundingBatch:
        """Builds a batch of I items; N counts all their prompts."""
        return self.assemble(
            [self.ready(item.image) for item in items],
            [item.prompts for item in items],
            ids=[item.id for item in items],
            masks=[mask for item in items for mask in item.masks],
        )

    def ready(self, image: ImageArray) -> ReadyImage:
        """Resizes an image; safe in threads."""
        pixels, filled = sam_input(image, self.sam_size)
        tile = tower_input(image, self.tile_size) if self.tiler is None else None
        return ReadyImage(image.shape[:2], pixels, filled, tile, None if self.tiler is None else image)

    def assemble(
        self,
        images: Sequence[ReadyImage],
        prompts: Sequence[Sequence[str]],
        *,
        ids: Sequence[str] = (),
        masks: Sequence[MaskArray] = (),
    ) -> GroundingBatch:
        """Builds a batch of I images.

        Args:
            images: The images.
            prompts: Prompts of each image, N in all.
            ids: Names of the images; empty to predict.
            masks: Mask of each prompt; empty to predict.
        """
        cells = [self.mask(mask) for mask in masks]
        valid = [self._inside(image.size) for image in images]
        index = [position for position, asked in enumerate(prompts) for _ in asked]
        if self.turn is None:
            rows = [([prompt], image) for image, asked in enumerate(prompts) for prompt in asked]
        else:
            rows = [(list(asked), image) for image, asked in enumerate(prompts) if asked]
        tiles, tile_sizes, counts = self._tiles(images)
        input_ids, attention_mask = self._encode([self.write(asked, counts[image]) for asked, image in rows])
        row_image = torch.tensor([image for _, image in rows])
        return GroundingBatch(
            ids=list(ids),
            pixels=torch.stack([image.pixels for image in images]),
            filled=torch.tensor([image.filled for image in images]),
            tiles=tiles,
            tile_sizes=tile_sizes,
            input_ids=input_ids,
            attention_mask=attention_mask,
            row_image=row_image,
            places=find_places(input_ids, attention_mask, row_image, seg_id=self.seg_id, image_id=self.image_id),
            image_index=torch.tensor(index),
            masks=torch.stack(cells) if cells else torch.zeros(0, self.mask_size, self.mask_size),
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

    def _tiles(self, images: Sequence[ReadyImage]) -> tuple[Tensor, Tensor | None, list[int]]:
        """The vision tower's input, native sizes with anyres only, and the tokens of each image."""
        whole = [image.tile for image in images if image.tile is not None]
        if self.tiler is None:
            return torch.stack(whole), None, [self.image_tokens] * len(images)
        uncut = [image.image for image in images if image.image is not None]
        return *self.tiler.cut(uncut), [self.tiler.count(image) for image in uncut]

    def to_native(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsamples logits to an image's own pixels, cutting SAM's padding off.

        One step, on purpose: SAM, and LISA with it, goes by way of its input size (256 → 1024 → native) and so smooths
        twice.

        Args:
            logits: (M, M), before the sigmoid (probabilities would saturate between pixels).
            size: (H, W).

        Returns:
            (H, W) logits.
        """
        (height, width), side, cells = size, max(size), logits.shape[-1]
        values = logits[None, None].float()
        if height < width:  # the padding goes before the long side grows: a line scan's square is beyond any memory
            values = _grow(values, (side, cells))[:, :, :height]
        elif width < height:
            values = _grow(values, (cells, side))[..., :width]
        return _grow(values, size)[0, 0]

    def mask(self, mask: MaskArray) -> Tensor:
        """Share of defect area per cell of SAM's logits, (M, M), zero in the padding.

        On purpose the loss is on this grid (256 cells a side in SAM): LISA upsamples the logits to each image's own
        size and compares there, at many times the memory, though the logits hold no more than the grid does.
        """
        height, width = fit_longer_side(mask.shape, self.mask_size)
        way = cv2.INTER_AREA if height < mask.shape[0] or width < mask.shape[1] else cv2.INTER_LINEAR
        cells = np.zeros((self.mask_size, self.mask_size), np.float32)
        cells[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=way)
        return torch.from_numpy(cells)

    def _inside(self, size: tuple[int, int]) -> Tensor:
        """1 in the cells that an image of a (height, width) fills, 0 in the padding, (M, M)."""
        height, width = fit_longer_side(size, self.mask_size)
        cells = torch.zeros(self.mask_size, self.mask_size)
        cells[:height, :width] = 1
        return cells


def _grow(values: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(values, size, mode="bilinear", align_corners=False)
