from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.sample import ImageArray, Sample
from models.experts.expert import Gate, MapArray, detect_by_category


class Levels:
    """Says the first grey level of an image, and ten more for a gear."""

    def __init__(self) -> None:
        self.gates = {"gear": Gate(11.5, 0.0), "nut": Gate(1.5, 0.0)}
        self.checked: list[str] = []

    def check(self, categories: Sequence[str]) -> None:
        self.checked = list(categories)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        extra = 10.0 if category == "gear" else 0.0
        return [(np.full(image.shape[:2], image[0, 0, 0], np.float32), extra + image[0, 0, 0]) for image in images]


def test_mixed_categories_keep_their_order_and_their_gates() -> None:
    names = ["gear", "nut", "gear", "nut"]
    samples = [
        Sample(id=str(n), dataset="d", category=name, split="test", image=Path(f"{n}.png"))
        for n, name in enumerate(names)
    ]
    expert = Levels()
    found = detect_by_category(expert, samples, [np.full((2, 2, 3), n, np.uint8) for n in range(4)])
    assert expert.checked == names
    assert [one.score for one in found] == [10, 1, 12, 3]
    assert [one.is_normal for one in found] == [True, True, False, False]
    assert [float(one.anomaly_map[0, 0]) for one in found] == [0, 1, 2, 3]
