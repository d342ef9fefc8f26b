import numpy as np
import pytest

from data.ddqa.regions import REGIONS, region_of
from data.factory.canvas import Surface
from data.factory.defects import PAINTERS
from data.factory.placement import MIN_AREA, place_mark

SIZE = 128


def make_surface(foreground: np.ndarray | None = None) -> Surface:
    image = np.full((SIZE, SIZE, 3), 130, np.float32)
    whole = np.ones((SIZE, SIZE), bool) if foreground is None else foreground
    return Surface(image, whole, np.full_like(image, 215))


@pytest.mark.parametrize("region", REGIONS)
def test_a_mark_lies_in_the_cell_that_names_it(region: str) -> None:
    surface = make_surface()
    for seed, defect in enumerate(PAINTERS):
        image = surface.image.copy()
        mark = place_mark(
            np.random.default_rng(seed), surface, image, defect, region, np.zeros_like(surface.foreground)
        )
        assert mark is not None
        assert mark.mask.mean() >= MIN_AREA
        rows, columns = np.nonzero(mark.mask)
        assert tuple(mark.box) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region_of((columns.mean(), rows.mean()), (SIZE, SIZE)) == mark.region == region
        assert (image[~mark.mask] == surface.image[~mark.mask]).all()


def test_marks_stay_on_the_product_and_off_taken_pixels() -> None:
    foreground = np.zeros((SIZE, SIZE), bool)
    foreground[:, :60] = True
    surface = make_surface(foreground)
    taken = np.zeros_like(foreground)
    taken[:, :20] = True
    for seed in range(20):
        image = surface.image.copy()
        mark = place_mark(np.random.default_rng(seed), surface, image, "stain", "left", taken)
        if mark is not None:
            assert not (mark.mask & ~foreground).any()
            assert not (mark.mask & taken).any()
    empty = place_mark(np.random.default_rng(0), surface, surface.image, "hole", "right", np.zeros_like(foreground))
    assert empty is None


def test_an_invisible_mark_is_refused() -> None:
    white = Surface(
        np.full((SIZE, SIZE, 3), 215, np.float32),
        np.ones((SIZE, SIZE), bool),
        np.full((SIZE, SIZE, 3), 215, np.float32),
    )
    image = white.image.copy()
    for seed in range(10):
        mark = place_mark(np.random.default_rng(seed), white, image, "scratch", "center", np.zeros((SIZE, SIZE), bool))
        if mark is not None:
            assert np.abs(image - white.image)[mark.mask].max(axis=1).mean() >= 13
            image[:] = white.image
    assert (image == white.image).all()
