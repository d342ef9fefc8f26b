"""Where the special tokens of conversations are: found on the CPU before a batch leaves it: no GPU is waited for.

Shapes: N prompts in B conversations of L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Places:
    """Places of the tokens of a batch of conversations.

    Attributes:
        image_at: Places of all image tokens among the B · L tokens, in order.
        seg_row: Conversation of each [SEG], (N,), in reading order: the order of the prompts.
        seg_at: Its place there, (N,).
        images: The image of each conversation.
        padded: Whether any conversation is shorter than L.
    """

    image_at: Tensor
    seg_row: Tensor
    seg_at: Tensor
    images: list[int]
    padded: bool

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Places:
        """The same on another device."""
        image_at = self.image_at.to(device, non_blocking=non_blocking)
        seg_row = self.seg_row.to(device, non_blocking=non_blocking)
        return Places(image_at, seg_row, self.seg_at.to(device, non_blocking=non_blocking), self.images, self.padded)

    def pin_memory(self) -> Places:
        """The same in memory that a GPU can read while the CPU goes on."""
        pinned = (self.image_at.pin_memory(), self.seg_row.pin_memory(), self.seg_at.pin_memory())
        return Places(pinned[0], pinned[1], pinned[2], self.images, self.padded)


def find_places(input_ids: Tensor, attention_mask: Tensor, row_image: Tensor, *, seg_id: int, image_id: int) -> Places:
    """Looks for the image and [SEG] tokens.

    Args:
        input_ids: (B, L), on the CPU.
        attention_mask: (B, L), 0 on the padding.
        row_image: (B,), the image of each conversation.
        seg_id: Token id of [SEG].
        image_id: Token id of an image's placeholder.
    """
    row, at = (input_ids == seg_id).nonzero(as_tuple=True)
    image_at = (input_ids == image_id).flatten().nonzero()[:, 0]
    return Places(image_at, row, at, row_image.tolist(), not bool(attention_mask.all()))
