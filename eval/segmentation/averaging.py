"""Test-time averaging: one anomaly map from several looks at an image, mirrored and at several sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.sample import ImageArray
from models.predictor import Predicted

Look = Callable[
    [Sequence[ImageArray], bool], Sequence[Predicted]
]  # images, whether they are mirrored → one answer each


@dataclass(frozen=True, slots=True)
class Averaged:
    """The mean of several looks.

    Attributes:
        anomaly_map: (H, W) float32, mean of the maps, each brought back to the image's own size and side.
        score: Mean of the image scores.
    """

    anomaly_map: NDArray[np.float32]
    score: float


def average_looks(look: Look, images: Sequence[ImageArray], *, flip: bool, scales: Sequence[float]) -> list[Averaged]:
    """Looks several times at each image and averages what is found.

    Args:
        look: Finds one map an image; told whether the images are mirrored, because texts must then be mirrored, too.
        images: (H, W, 3) each, of any sizes.
        flip: Whether each size is also looked at mirrored.
        scales: Factors on the image's sides.
    """
    totals = [np.zeros(image.shape[:2], np.float64) for image in images]
    scores = np.zeros(len(images))
    looks = [(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))]
    for scale, mirrored in looks:
        answers = look([_view(image, scale, mirrored) for image in images], mirrored)
        for index, answer in enumerate(answers):
            height, width = images[index].shape[:2]
            anomaly_map = answer.anomaly_map[:, ::-1] if mirrored else answer.anomaly_map
            if anomaly_map.shape != (height, width):
                resized = cv2.resize(np.ascontiguousarray(anomaly_map), (width, height))
                anomaly_map = np.asarray(resized, np.float32)
            totals[index] += anomaly_map
            scores[index] += answer.score
    count = len(looks)
    return [Averaged((t / count).astype(np.float32), float(s / count)) for t, s in zip(totals, scores, strict=True)]


def mirror_text(text: str) -> str:
    """The text with "left" and "right" exchanged; capitals stay where they are."""
    swap = {"left": "right", "right": "left"}

    def exchange(match: re.Match[str]) -> str:
        word = match[0]
        other = swap[word.lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    return re.sub(r"\b(left|right)\b", exchange, text, flags=re.IGNORECASE)


def _view(image: ImageArray, scale: float, mirrored: bool) -> ImageArray:
    if scale != 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image
