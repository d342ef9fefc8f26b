from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sample import ImageArray
from eval.segmentation.averaging import average_looks, list_looks, mirror_text


@dataclass
class Answer:
    anomaly_map: np.ndarray
    score: float


def brightness(views: Sequence[ImageArray]) -> list[Answer]:
    """The red channel as the map."""
    return [Answer(view[..., 0].astype(np.float32), float(view.max())) for view in views]


def test_mirrored_maps_come_back_to_their_side() -> None:
    image = np.zeros((8, 12, 3), np.uint8)
    image[2, 1] = 200
    looks = list_looks(flip=True, scales=[1.0])
    views = [look.view(image) for look in looks]
    assert [int(view[2].argmax()) // 3 for view in views] == [1, 10]
    (answer,) = average_looks(looks, [brightness([view]) for view in views], [(8, 12)])
    assert np.array_equal(answer.anomaly_map, image[..., 0])
    assert answer.score == 200


def test_scales_come_back_to_the_native_size() -> None:
    image = np.full((8, 12, 3), 77, np.uint8)
    looks = list_looks(flip=False, scales=[0.5, 1.0, 2.0])
    views = [look.view(image) for look in looks]
    assert [view.shape[:2] for view in views] == [(4, 6), (8, 12), (16, 24)]
    (answer,) = average_looks(looks, [brightness([view]) for view in views], [(8, 12)])
    assert answer.anomaly_map.shape == (8, 12) and answer.anomaly_map.dtype == np.float32
    assert np.allclose(answer.anomaly_map, 77)


def test_only_whole_words_are_mirrored() -> None:
    assert mirror_text("Top Left, not right.") == "Top Right, not left."
    assert mirror_text("LEFT, bright, leftover") == "RIGHT, bright, leftover"
