"""Nearest neighbours in a memory: one matrix product and a minimum; the root only of the minima."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 2048  # queries a block: bounds the product at BLOCK × M


def nearest_neighbours(queries: Tensor, memory: Tensor, memory_norms: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest point of the memory, and which it is.

    Args:
        queries: (N, C).
        memory: (M, C).
        memory_norms: |c|² of its points, (M,).

    Returns:
        Distances (N,) and indices (N,).
    """
    distances, indices = [], []
    transposed = memory.T
    for block in queries.split(BLOCK):
        value, index = torch.addmm(memory_norms[None], block, transposed, alpha=-2).min(1)
        distances.append(value.add_(block.square().sum(1)).clamp_(min=0).sqrt_())
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)
