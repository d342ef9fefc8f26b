import numpy as np
import pytest
import torch

from models.experts.saa.regions import BestRegions, Regions, keep_defects, keep_objects, rescore


def regions(*found: tuple[list[float], str]) -> Regions:
    boxes = torch.tensor([box for box, _ in found]).reshape(-1, 4)
    return Regions(boxes, torch.linspace(0.9, 0.1, len(found)), tuple(phrase for _, phrase in found))


QUARTER, HALF, ALL, EMPTY = [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0], [0.2, 0.2, 0.2, 0.9]


def test_areas_are_shares_of_the_image() -> None:
    assert regions((QUARTER, "a"), (HALF, "b"), (EMPTY, "c")).areas.tolist() == pytest.approx([0.25, 0.5, 0])


@pytest.mark.parametrize(("objects", "kept"), [(1, ["a", "b"]), (2, ["a"]), (4, [])])
def test_objects_are_smaller_than_their_share(objects: int, kept: list[str]) -> None:
    """Strictly smaller; empty boxes are none."""
    found = keep_objects(regions((QUARTER, "a"), (HALF, "b"), (ALL, "c"), (EMPTY, "d")), objects)
    assert list(found.phrases) == kept


def test_defects_are_smaller_than_their_share_of_the_largest_object() -> None:
    objects = regions((QUARTER, "nut"), (HALF, "nut"))
    found = regions((QUARTER, "dark crack"), ([0, 0, 0.4, 0.5], "crack"), (HALF, "flaw"))
    assert list(keep_defects(found, objects, 0.5, "nut").phrases) == ["crack"]
    assert list(keep_defects(found, objects, 1.0, "nut").phrases) == ["dark crack", "crack"]
    nothing = regions()
    assert list(keep_defects(found, nothing, 0.5, "nut").phrases) == ["dark crack", "crack"]  # of the image


def test_phrases_with_the_name_of_the_object_are_dropped() -> None:
    found = regions((QUARTER, "defect on Metal Nut"), (QUARTER, "defect"), (QUARTER, "nut"))
    kept = keep_defects(found, regions((HALF, "metal nut")), 1.0, "metal nut")
    assert list(kept.phrases) == ["defect", "nut"]
    assert kept.scores.tolist() == pytest.approx([0.5, 0.1]) and kept.boxes.shape == (2, 4)


def test_rescore() -> None:
    saliency = np.array([[0.2, 0.4], [0.9, 0.9]], np.float32)
    mask = np.array([[True, True], [False, False]])
    assert rescore(0.5, mask, saliency) == pytest.approx(0.5 * np.exp(3 * 0.3))
    assert rescore(0.5, np.zeros((2, 2), bool), saliency) == 0.5


def test_the_best_are_laid_over_one_another() -> None:
    best = BestRegions(2, (1, 3))
    for score, mask in ((0.1, [1, 1, 1]), (0.6, [1, 1, 0]), (0.4, [1, 0, 0]), (0.4, [0, 0, 1])):
        best.add(score, np.array([mask], bool))
    assert best.merge() == pytest.approx(np.array([[1.0 / 3, 0.6 / 2, 0]]))
    assert not BestRegions(2, (1, 3)).merge().any()
