"""Greedy coreset: k-center by farthest-first traversal, exact and in batches (PatchCore, Sec. 3.2).

The plain algorithm updates all N distances after each of K picks: K passes over the features, bound by memory. Here
the passes are shared. In a round, the m points with the largest distances are candidates; the next largest bounds the
distance of every other point, now and later, because distances only shrink. Among the candidates, with their m × m
distances at hand, picking goes on exactly as long as the best candidate is at or above the bound: no other point could
have been picked. Then one matrix product updates all N distances for all picks of the round.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

BLOCK = 4096  # points a block of the distance update: its product stays in the cache


def select_coreset(features: Tensor, count: int, *, start: int, candidates: int = 1024) -> Tensor:
    """Picks points so that the largest distance of any point to its nearest pick is small.

    Args:
        features: (N, C) float32.
        count: How many points to pick, 1..N.
        start: Index of the first pick.
        candidates: Candidates a round (m); changes the time, not the picks.

    Returns:
        (count,) int64 indices in the order of picking, on the CPU. Equal points are never picked twice unless fewer
        than `count` points differ.

    Raises:
        ValueError: If `count` or `start` is out of range.
    """
    size = len(features)
    if not 1 <= count <= size or not 0 <= start < size:
        raise ValueError(f"count={count} and start={start} must be in 1..{size} and 0..{size - 1}.")
    points = features - features.mean(0)  # smaller numbers cancel less in |x|² + |c|² − 2xc
    norms = points.square().sum(1)
    distances = torch.full((size,), math.inf, device=features.device)  # squared
    picked = [torch.tensor([start], device=features.device)]
    total = 1
    _lower(distances, points, norms, picked[0])
    while total < count:
        width = min(candidates, size - 1)
        values, indices = torch.topk(distances, width + 1)
        order = _pick_among(points[indices[:-1]], values[:-1], float(values[-1]), count - total)
        picks = indices[torch.as_tensor(order, device=indices.device)]
        _lower(distances, points, norms, picks)
        picked.append(picks)
        total += len(order)
    return torch.cat(picked).cpu()


def covering_radius(features: Tensor, picks: Tensor) -> float:
    """Largest distance of any point to its nearest pick."""
    picks = picks.to(features.device)
    worst = 0.0
    for block in features.split(BLOCK):
        exact = torch.cdist(block, features[picks], compute_mode="donot_use_mm_for_euclid_dist")
        worst = max(worst, float(exact.min(1).values.max()))
    return worst


def _pick_among(candidates: Tensor, values: Tensor, bound: float, most: int) -> list[int]:
    """Farthest-first among the candidates, as long as no outsider could be farther; at least one pick."""
    norms = candidates.square().sum(1)
    between = torch.addmm(norms[None], candidates, candidates.T, alpha=-2).add_(norms[:, None]).clamp_(min=0)
    table, nearest = between.cpu().numpy(), values.cpu().numpy().copy()
    picks: list[int] = []
    best = 0  # topk sorts: the first candidate is the farthest point of all
    while not picks or (len(picks) < most and nearest[best] >= bound and nearest[best] >= 0):
        picks.append(best)
        np.minimum(nearest, table[best], out=nearest)
        nearest[best] = -1.0  # picked, whatever rounding leaves of its distance to itself
        best = int(nearest.argmax())
    return picks


def _lower(distances: Tensor, points: Tensor, norms: Tensor, picks: Tensor) -> None:
    """Updates the squared distance of every point to its nearest pick, in place; picks get −1."""
    centers, center_norms = points[picks].T, norms[picks]
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        nearest = torch.addmm(center_norms[None], points[rows], centers, alpha=-2).amin(1)
        nearest.add_(norms[rows]).clamp_(min=0)
        torch.minimum(distances[rows], nearest, out=distances[rows])
    distances[picks] = -1.0
