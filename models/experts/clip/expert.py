"""What the zero-shot experts share: images in, maps at the images' own size out, a gate that works without a fit.

Zero-shot, so nothing is fitted but, by choice, a gate (`scripts.fit_expert`) and the memory of a few normal images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.files import hash_value
from data.sample import ImageArray, Sample
from models.experts.clip.backbone import Clip
from models.experts.clip.words import Texts
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.store import read_gates, write_expert, write_gates


@dataclass(frozen=True, slots=True)
class TextPair:
    """The two directions that an image is compared with.

    Attributes:
        normal: Of the sound product, (D,), length 1.
        abnormal: Of the damaged one, (D,), length 1.
    """

    normal: Tensor
    abnormal: Tensor

    @property
    def stacked(self) -> Tensor:
        """(2, D): normal, abnormal."""
        return torch.stack([self.normal, self.abnormal])


class ClipExpert:
    """A zero-shot expert; a method says how it looks and with which words.

    Args:
        clip: What it sees with.
    """

    name: ClassVar[str]
    sees_truth = False
    manner: ClassVar[str]
    neutral: ClassVar[Gate] = Gate(0.5, 0.5)  # more likely damaged than sound: what a gate is before it is fitted

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.gates: dict[str, Gate] = defaultdict(lambda: self.neutral)
        self._pairs: dict[str, TextPair] = {}

    @property
    def identity(self) -> str:
        """Changes with what its maps depend on: weights and settings, not the memory of a fit."""
        settings = asdict(self.clip.config) | {"image_size": self.clip.side}
        for name in ("checkpoint", "batch_size", "device"):
            del settings[name]
        return hash_value([self.name, self.clip.weights_hash, settings])

    @property
    def setting(self) -> str:
        """What results say of how it looked: words, input, weights."""
        clip = self.clip
        return (
            f"{self.manner} {clip.config.model} at {clip.side} pixels square ({clip.grid[0]} × {clip.grid[1]} "
            f"patches), all of what it is shown; weights SHA-256 {clip.weights_hash[:16]}."
        )

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """Writes settings and gates; `fitted` holds the ids of the images that were remembered or a gate was set on."""
        write_gates(folder, self.gates)
        write_expert(folder, self.name, asdict(self.clip.config) | {"weights_hash": self.clip.weights_hash}, fitted)

    def restore(self, folder: Path) -> None:
        """Takes gates, and what is remembered, from what `save` wrote."""
        self.gates.update(read_gates(folder))

    def texts(self, category: str) -> Texts:
        """The words for a category."""
        raise NotImplementedError

    def look(self, category: str, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, h, w) of any grid, and image scores (B,), of prepared images."""
        raise NotImplementedError

    def average(self, features: Tensor) -> Tensor:
        """One direction for the texts of a state, (N, D) → (D,): the mean of raw features, to length 1."""
        return F.normalize(features.mean(0), dim=0)

    def pair(self, category: str) -> TextPair:
        """The two directions for a category, made once."""
        if category not in self._pairs:
            texts = self.texts(category)
            encoded = [self.average(self.clip.encode_texts(state)) for state in (texts.normal, texts.abnormal)]
            self._pairs[category] = TextPair(*encoded)
        return self._pairs[category]

    def check(self, categories: Sequence[str]) -> None:
        """Knows every category by its name; see `Expert.check`."""

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Looks at images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and score, of images of one category, without a gate."""
        size = self.clip.config.batch_size
        scored = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            maps, scores = self.look(category, self.clip.prepare(batch))
            for image, grid, score in zip(batch, maps, scores.tolist(), strict=True):
                scored.append((self.enlarge(grid, image.shape[:2]), score))
        return scored

    def enlarge(self, grid: Tensor, size: tuple[int, int]) -> MapArray:
        """A map of the image's size, bilinear."""
        values = np.ascontiguousarray(grid.float().cpu().numpy())
        return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def damaged(features: Tensor, pair: TextPair, scale: float) -> Tensor:
    """How much likelier damaged than sound: softmax over the two texts of `scale` × cosine, (…, D) → (…)."""
    cosines = F.normalize(features, dim=-1) @ pair.stacked.T
    return (scale * cosines).softmax(-1)[..., 1]
