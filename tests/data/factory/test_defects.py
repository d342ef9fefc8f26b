import numpy as np
import pytest

from data.factory.defects import PAINTERS


@pytest.mark.parametrize("defect", PAINTERS)
def test_a_mark_changes_what_it_covers_and_nothing_else(defect: str) -> None:
    for seed in range(5):
        mark = PAINTERS[defect](np.random.default_rng(seed), 1.0)
        patch = np.full((*mark.cover.shape, 3), 130, np.float32)
        changed = mark.apply(patch, np.full_like(patch, 215))
        difference = np.abs(changed - patch).max(axis=2)
        assert (difference[mark.cover == 0] < 1e-3).all()
        assert (difference[mark.cover > 0.9] > 3).mean() > 0.85
        assert changed.min() >= 0 and changed.max() <= 255
        assert mark.cover[[0, -1]].max() < 0.3 and mark.cover[:, [0, -1]].max() < 0.3, "cut off by its window"


@pytest.mark.parametrize("defect", PAINTERS)
def test_lengths_scale_with_the_image(defect: str) -> None:
    areas = [
        np.mean([(PAINTERS[defect](np.random.default_rng(seed), unit).cover > 0.3).sum() for seed in range(20)])
        for unit in (1.0, 0.5)
    ]
    assert 2.2 < areas[0] / areas[1] < 5


def test_types_look_different() -> None:
    """On plain grey the types separate by brightness, colour and darkness alone, or by shape."""

    def paint(defect: str) -> tuple[float, float, float]:
        mark = PAINTERS[defect](np.random.default_rng(1), 1.0)
        patch = np.full((*mark.cover.shape, 3), 130, np.float32)
        inside = mark.apply(patch, np.full_like(patch, 215))[mark.cover > 0.5]
        return float(inside.mean()), float(inside.std(axis=0).mean()), float(np.ptp(inside.mean(axis=0)))

    assert paint("hole")[0] < 70 < paint("stain")[0] < 130 < paint("contamination")[0]
    assert paint("missing part")[0] > 140
    assert paint("foreign object")[2] > 60 > paint("dent")[2]
    assert paint("scratch")[0] > 130 > paint("crack")[0]
    assert paint("bend")[1] > 15
