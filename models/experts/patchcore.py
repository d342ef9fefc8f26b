"""PatchCore: how far is each patch from the nearest normal one (Roth et al., "Towards total recall", 2022).

One memory a category: patch features of normal images, thinned to a greedy coreset. The anomaly map is the distance of
each patch to its nearest neighbour in the memory, enlarged and smoothed; the score of an image is its largest distance,
weighted down where the memory is dense (their Eq. 7).

The authors' public code is not the paper's PatchCore in all, so figures of the two may differ: its distances are
squared, and its image score is the largest of them without the density weight; it resizes the shorter side to 256 and
crops 224 from the centre; it pools each layer's patches to 1024 numbers, and those of all layers to 1024 again. Here
distances are plain, images are resized to a square without a crop, and features are as `BackboneConfig` says.

A fitted expert is a folder: `expert.json`, `gate.json` and `<category>/memory.safetensors` (`models.experts.store`).

Shapes: features (N, C); memory (M, C); patch distances (B, h, w).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.errors import UserError
from data.sample import ImageArray, Sample
from models.device import choose
from models.experts.backbone import Backbone, BackboneConfig
from models.experts.coreset import select_coreset
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.store import (
    check_backbone,
    read_config,
    read_gates,
    read_tensors,
    write_expert,
    write_gates,
    write_tensors,
)

MEMORY = "memory.safetensors"
BLOCK = 2048  # patches whose distances to the whole memory are held at once


@dataclass(kw_only=True, slots=True)
class PatchCoreConfig:
    """A PatchCore.

    Attributes:
        backbone: Which features.
        memory_share: Share of the patches that the coreset keeps.
        projection: The coreset is selected in a random projection to this many dimensions; 0 selects in the features
            themselves.
        candidates: Candidates a round of the coreset; changes its time, not the picks.
        neighbours: Points of the memory around the nearest one that weight the image score; 1 turns the weight off.
        blur: Standard deviation of the smoothing, in pixels at the backbone's image size; 0 turns it off.
        batch_size: Images a batch.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.
        seed: Of the projection and of the coreset's first pick.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    memory_share: float = 0.1
    projection: int = 128
    candidates: int = 1024
    neighbours: int = 9
    blur: float = 4.0
    batch_size: int = 16
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range.
        """
        if not 0 < self.memory_share <= 1:
            raise UserError(f"memory_share must be above 0 and at most 1, not {self.memory_share}.")
        least = {"projection": 0, "candidates": 1, "neighbours": 1, "blur": 0, "batch_size": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name} must be at least {low}, not {getattr(self, name)}.")


class PatchCore:
    """A PatchCore with one memory a category.

    Args:
        config: Sizes and switches.
    """

    name = "patchcore"
    sees_truth = False

    def __init__(self, config: PatchCoreConfig) -> None:
        self.config = config
        self.backbone = Backbone(config.backbone, choose(config.device).device)
        self.gates: dict[str, Gate] = {}
        self._memories: dict[str, tuple[Tensor, Tensor]] = {}  # points and |c|²

    def fit(self, category: str, images: Iterable[Sequence[ImageArray]]) -> Tensor:
        """Fills the memory of a category from its normal images.

        Args:
            category: The category.
            images: Batches of normal images.

        Returns:
            The memory, (M, C).

        Raises:
            UserError: If there is no image.
        """
        return self.fit_prepared(category, (self.backbone.prepare(batch) for batch in images))

    def fit_prepared(self, category: str, batches: Iterable[Tensor]) -> Tensor:
        """Like `fit`, from images that `Backbone.prepare` made, (N, 3, S, S) each."""
        features = [_rows(self.backbone.patches(batch)) for batch in batches]
        if not features:
            raise UserError(f"No normal images of '{category}' to fit PatchCore on. Check the data and its splits.")
        memory = thin(torch.cat(features), self.config)
        self.set_memory(category, memory)
        return memory

    def set_memory(self, category: str, memory: Tensor) -> None:
        """Uses a memory, (M, C)."""
        memory = memory.to(self.backbone.device)
        self._memories[category] = (memory, memory.square().sum(1))

    def memory(self, category: str) -> Tensor:
        """The memory of a category, (M, C)."""
        return self._memories[category][0]

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a memory or a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - (self.gates.keys() & self._memories.keys())):
            known = ", ".join(self._memories) or "none"
            raise UserError(
                f"PatchCore has no fitted memory for {', '.join(missing)}; it has {known}. "
                "Fit it: python -m scripts.fit_expert."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Scores images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and score, of images of one category, without a gate."""
        size = self.config.batch_size
        scored = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            distances, scores = self.score_batch(category, self.backbone.prepare(batch))
            for image, grid, score in zip(batch, distances, scores, strict=True):
                scored.append((self.enlarge(grid, image.shape[:2]), float(score)))
        return scored

    @torch.inference_mode()
    def score_batch(self, category: str, batch: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Patch distances (B, h, w) and image scores (B,) of prepared images."""
        memory, norms = self._memories[category]
        patches = self.backbone.patches(batch)
        count, _, height, width = patches.shape
        rows = _rows(patches)
        distances, nearest = nearest_neighbours(rows, memory, norms)
        grid = distances.view(count, height * width)
        worst, where = grid.max(1)
        scores = worst
        if self.config.neighbours > 1 and len(memory) > 1:
            at = torch.arange(count, device=where.device) * height * width + where
            scores = worst * self._density_weight(rows[at], nearest[at], worst, memory, norms)
        return grid.view(count, height, width).cpu().numpy(), scores.cpu().numpy()

    def enlarge(self, grid: NDArray[np.float32], size: tuple[int, int]) -> MapArray:
        """Patch distances (h, w) to an anomaly map of the image's size, smoothed."""
        side = self.config.backbone.image_size
        enlarged = cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)
        if self.config.blur:
            enlarged = cv2.GaussianBlur(enlarged, (0, 0), self.config.blur, borderType=cv2.BORDER_REFLECT)
        if size != (side, side):
            enlarged = cv2.resize(enlarged, size[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.float32)

    def save(self, folder: Path, fitted: dict[str, list[str]]) -> None:
        """Writes the fitted expert.

        Args:
            folder: Where to; files of an earlier fit are replaced.
            fitted: Ids of the images that each category was fitted on or its gate set on.
        """
        for category, (memory, _) in self._memories.items():
            write_tensors(folder, category, MEMORY, {"memory": memory})
        write_gates(folder, self.gates)
        write_expert(folder, self.name, asdict(self.config) | {"weights_hash": self.backbone.weights_hash}, fitted)

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> PatchCore:
        """Loads a fitted expert.

        Args:
            folder: Where `save` wrote it.
            device: Where it runs here, see `models.device`.

        Raises:
            UserError: If the folder holds none, it is incomplete, or the backbone's weights are gone or others.
        """
        config, weights_hash = read_config(folder, cls.name, PatchCoreConfig)
        expert = cls(replace(config, device=device))
        check_backbone(folder, expert.backbone, weights_hash)
        expert.gates = read_gates(folder)
        for category in expert.gates:
            expert.set_memory(category, read_tensors(folder, category, MEMORY, "memory")["memory"])
        return expert

    def _density_weight(self, rows: Tensor, nearest: Tensor, worst: Tensor, memory: Tensor, norms: Tensor) -> Tensor:
        """1 − softmax share of the nearest point among its own neighbours in the memory (their Eq. 7), (B,)."""
        count = min(self.config.neighbours, len(memory))
        around = torch.addmm(norms[None], memory[nearest], memory.T, alpha=-2).topk(count, largest=False).indices
        to_query = (rows[:, None] - memory[around]).square().sum(2).sqrt()  # (B, K); the first is the point itself
        return 1 - torch.exp(worst - torch.logsumexp(to_query, 1))


def thin(features: Tensor, config: PatchCoreConfig) -> Tensor:
    """The coreset of patch features, (N, C) → (M, C)."""
    count = max(1, int(config.memory_share * len(features)))
    if count == len(features):
        return features
    generator = torch.Generator().manual_seed(config.seed)
    start = int(torch.randint(len(features), (1,), generator=generator))
    space = project(features, config.projection, generator)
    picks = select_coreset(space, count, start=start, candidates=config.candidates)
    return features[picks.to(features.device)]


def project(features: Tensor, dimensions: int, generator: torch.Generator) -> Tensor:
    """A random Gaussian projection, which keeps distances up to a small error; none when it would not shrink."""
    if not 0 < dimensions < features.shape[1]:
        return features
    matrix = torch.randn(features.shape[1], dimensions, generator=generator) / dimensions**0.5
    return features @ matrix.to(features.device)


def nearest_neighbours(queries: Tensor, memory: Tensor, memory_norms: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to the nearest point of the memory, and which it is: the root only of the minima.

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


def _rows(patches: Tensor) -> Tensor:
    """(B, C, h, w) → (B·h·w, C)."""
    return patches.permute(0, 2, 3, 1).reshape(-1, patches.shape[1])
