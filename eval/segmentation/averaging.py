"""Test-time averaging: one anomaly map from several looks at an image, mirrored and at several sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.sample import ImageArray
from models.predictor import Predicted


@dataclass(frozen=True, slots=True)
class Look:
    """One way to look at an image.

    Attributes:
        scale: Factor on the image's sides.
        mirrored: Whether left and right change places.
    """

    scale: float
    mirrored: bool

    def view(self, image: ImageArray) -> ImageArray:
        """The image as it is looked at."""
        if self.scale != 1:
            size = (max(1, round(image.shape[1] * self.scale)), max(1, round(image.shape[0] * self.scale)))
            interpolation = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image

    def restore(self, anomaly_map: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """A map of the view, brought back to the image's own side and (height, width)."""
        if self.mirrored:
            anomaly_map = anomaly_map[:, ::-1]
        if anomaly_map.shape != size:
            anomaly_map = np.asarray(cv2.resize(np.ascontiguousarray(anomaly_map), size[::-1]), np.float32)
        return anomaly_map


@dataclass(frozen=True, slots=True)
class Averaged:
    """The mean of several looks.

    Attributes:
        anomaly_map: (H, W) float32, mean of the maps, each brought back to the image's own size and side.
        score: Mean of the image scores.
    """

    anomaly_map: NDArray[np.float32]
    score: float


def list_looks(*, flip: bool, scales: Sequence[float]) -> list[Look]:
    """Every scale, and with `flip` also its mirror image."""
    return [Look(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]


def average_looks(
    looks: Sequence[Look], answers: Sequence[Sequence[Predicted]], sizes: Sequence[tuple[int, int]]
) -> list[Averaged]:
    """Averages what several looks found.

    Args:
        looks: The looks.
        answers: For each look one answer an image.
        sizes: (height, width) of each image.
    """
    averaged = []
    for size, found in zip(sizes, zip(*answers, strict=True), strict=True):
        total, score = np.zeros(size, np.float64), 0.0
        for look, answer in zip(looks, found, strict=True):
            total += look.restore(answer.anomaly_map, size)
            score += answer.score
        averaged.append(Averaged((total / len(looks)).astype(np.float32), float(score / len(looks))))
    return averaged


def mirror_text(text: str) -> str:
    """The text with "left" and "right" exchanged; capitals stay where they are."""
    swap = {"left": "right", "right": "left"}

    def exchange(match: re.Match[str]) -> str:
        word = match[0]
        other = swap[word.lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return re.sub(r"\b(left|right)\b", exchange, text, flags=re.IGNORECASE)
