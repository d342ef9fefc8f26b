from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import ImageArray
from eval.segmentation.averaging import average_looks, mirror_text


@dataclass
class Answer:
    anomaly_map: np.ndarray
    score: float


class Brightness:
    """The red channel as the map; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], bool]] = []

    def look(self, images: Sequence[ImageArray], mirrored: bool) -> list[Answer]:
        self.asked += [(image.shape, mirrored) for image in images]
        return [Answer(image[..., 0].astype(np.float32), float(image.max())) for image in images]


def test_mirrored_maps_come_back_to_their_side() -> None:
    image = np.zeros((8, 12, 3), np.uint8)
    image[2, 1] = 200
    inner = Brightness()
    answer = average_looks(inner.look, [image], flip=True, scales=[1.0])[0]
    assert np.array_equal(answer.anomaly_map, image[..., 0])
    assert answer.score == 200
    assert [mirrored for _, mirrored in inner.asked] == [False, True]
    assert mirror_text("Top Left, not right.") == "Top Right, not left."


def test_scales_come_back_to_the_native_size() -> None:
    image = np.full((8, 12, 3), 77, np.uint8)
    inner = Brightness()
    answer = average_looks(inner.look, [image], flip=False, scales=[0.5, 1.0, 2.0])[0]
    assert [shape[:2] for shape, _ in inner.asked] == [(4, 6), (8, 12), (16, 24)]
    assert answer.anomaly_map.shape == (8, 12) and answer.anomaly_map.dtype == np.float32
    assert np.allclose(answer.anomaly_map, 77)


def test_only_whole_words_are_mirrored() -> None:
    assert mirror_text("LEFT, bright, leftover") == "RIGHT, bright, leftover"
