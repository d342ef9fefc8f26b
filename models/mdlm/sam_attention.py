"""The attention of SAM's image encoder through PyTorch's fused kernels: the stock weights, the same result.

Shapes: B images or windows, H×W cells, T = H·W tokens, h heads of width d.

The stock layer writes out the (T, T) scores of every head twice, once more for the relative positions. Here the
decomposed relative positions become extra channels: the bias of query (y, x) for key (y', x') is rel_h[y'] + rel_w[x'],
which is the product of [rel_h, rel_w], (H + W), with the one-hot code of the key's row and column. So no bias is ever
materialised, memory grows with T and not T², and kernels that take no bias can be used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusedAttention(nn.Module):
    """Takes the place of a stock attention layer and keeps its parameters' names.

    Args:
        stock: The layer, with `qkv`, `proj`, `num_heads`, `scale` and, if it has relative positions, their tables.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.num_heads: int = stock.num_heads
        self.scale = stock.scale
        self.use_rel_pos = stock.use_rel_pos
        self.qkv: nn.Module = stock.qkv
        self.proj: nn.Module = stock.proj
        if stock.use_rel_pos:
            self.rel_pos_h: Tensor = stock.rel_pos_h
            self.rel_pos_w: Tensor = stock.rel_pos_w

    def forward(self, cells: Tensor) -> Tensor:
        """Attends among all cells: (B, H, W, C) → (B, H, W, C)."""
        batch, height, width, _ = cells.shape
        tokens = height * width
        query, key, value = (
            self.qkv(cells).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        )
        if not self.use_rel_pos:
            read = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        else:
            by_place = query.reshape(batch, self.num_heads, height, width, -1)
            rows = torch.einsum("bnhwc,hkc->bnhwk", by_place, _table(self.rel_pos_h, height))
            columns = torch.einsum("bnhwc,wkc->bnhwk", by_place, _table(self.rel_pos_w, width))
            biases = torch.cat([rows, columns], -1).reshape(batch, self.num_heads, tokens, height + width)
            places = _one_hot_places(height, width, query).expand(batch, self.num_heads, -1, -1)
            depth = value.shape[-1]
            read = functional.scaled_dot_product_attention(
                torch.cat([query * self.scale, biases.to(query)], -1),
                torch.cat([key, places], -1),
                functional.pad(value, (0, height + width)),  # one width for all three: the fused kernels ask for it
                scale=1.0,
            )[..., :depth]
        return self.proj(read.transpose(1, 2).reshape(batch, height, width, -1))


def _table(positions: Tensor, size: int) -> Tensor:
    """Relative positions of every (query, key) pair along one axis: (2·size − 1, d) → (size, size, d)."""
    if len(positions) != 2 * size - 1:
        raise ValueError(f"{len(positions)} relative positions do not fit a side of {size} cells.")
    steps = torch.arange(size, device=positions.device)
    return positions[steps[:, None] - steps[None] + size - 1]


def _one_hot_places(height: int, width: int, like: Tensor) -> Tensor:
    """Row and column of every cell as one-hot codes, (H·W, H + W)."""
    rows = torch.eye(height, dtype=like.dtype, device=like.device).repeat_interleave(width, 0)
    columns = torch.eye(width, dtype=like.dtype, device=like.device).repeat(height, 1)
    return torch.cat([rows, columns], -1)
