import numpy as np
import pytest

from data.ddqa.regions import REGIONS, region_of, region_pixels
from data.masks import Box


@pytest.mark.parametrize("index", range(9))
def test_each_cell_has_its_name(index: int) -> None:
    row, column = divmod(index, 3)
    assert region_of((column * 100 + 50, row * 40 + 20), (120, 300)) == REGIONS[index]


def test_edges_belong_inside() -> None:
    assert region_of((300, 120), (120, 300)) == "bottom right"
    assert region_of((0, 0), (120, 300)) == "top left"


def test_pixel_counts_agree_with_the_cell_of_every_pixel() -> None:
    mask = np.random.default_rng(1).random((31, 47)) > 0.7
    counts = dict.fromkeys(REGIONS, 0)
    for y, x in np.argwhere(mask):
        counts[region_of((x, y), mask.shape)] += 1
    assert region_pixels(mask) == counts
    inside = np.zeros_like(mask)
    inside[9:14, 4:40] = mask[9:14, 4:40]
    assert region_pixels(inside, Box(4, 9, 40, 14)) == region_pixels(inside)
