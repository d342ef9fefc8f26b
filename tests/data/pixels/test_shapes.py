import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data.errors import UserError
from data.pixels.shapes import Runs, Style, check_polygon, draw, paste, read_runs


def drawn(shapes: list, size: tuple[int, int], style: Style) -> np.ndarray:
    mask = np.zeros(size, bool)
    if window := draw(shapes, size, style):
        paste(window, mask)
    return mask


def test_labelme_polygons_are_drawn_as_pillow_draws_them_with_their_outline() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = int(rng.integers(20, 90)), int(rng.integers(20, 90))
        points = [tuple(point) for point in rng.uniform(-4, max(size) + 4, (int(rng.integers(3, 9)), 2)).tolist()]
        canvas = Image.new("L", size[::-1])
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        assert np.array_equal(drawn([tuple(points)], size, Style.LABELME), np.asarray(canvas) > 0)


# polygon, image, mask in compressed run lengths: as the tools of COCO 2.0.11 draw it
COCO = [
    ([10, 10, 30, 10, 30, 25, 10, 25], (40, 60), "j<?i00000000000000000000000000000000000000VU1"),
    ([1.5, 1.5, 8.25, 2, 7, 9.75, 2.5, 8], (12, 10), "j0571O1O001OLj0"),
    ([-3.2, 4, 20.4, -2.5, 9.9, 18.1], (15, 17), "35:1N2O1O1O1N2O1O00[11bN2N2N2N2"),
]


@pytest.mark.parametrize(("flat", "size", "expected"), COCO)
def test_coco_polygons_hold_the_pixels_whose_middle_they_hold(flat: list, size: tuple, expected: str) -> None:
    points = tuple(zip(flat[::2], flat[1::2], strict=True))
    assert np.array_equal(drawn([points], size, Style.COCO), drawn([read_runs(expected, size)], size, Style.COCO))


def test_a_rectangle_between_corners_has_its_own_area() -> None:
    rectangle = ((10.0, 10.0), (30.0, 10.0), (30.0, 25.0), (10.0, 25.0))
    mask = drawn([rectangle], (40, 60), Style.COCO)
    assert mask[10:25, 10:30].all() and mask.sum() == 15 * 20


def test_a_polygon_too_thin_for_a_pixel_still_marks_one() -> None:
    thin = ((5.1, 5.1), (5.2, 5.1), (5.2, 5.3))
    assert np.argwhere(drawn([thin], (10, 12), Style.COCO)).tolist() == [[5, 5]]
    assert draw([((90.0, 90.0), (91.0, 90.0), (91.0, 91.0))], (10, 12), Style.COCO) is None


def test_run_lengths_go_down_the_columns() -> None:
    runs = read_runs([1, 2, 4, 1, 4], (3, 4))
    expected = np.zeros(12, bool)
    expected[[1, 2, 7]] = True
    assert np.array_equal(drawn([runs], (3, 4), Style.COCO), expected.reshape(4, 3).T)
    with pytest.raises(UserError, match="4x3, the image is 9x9"):
        drawn([runs], (9, 9), Style.COCO)


@pytest.mark.parametrize("counts", [[1, 2], [13], [-1, 13], [], "Z<1", "1\x7f", "o"])
def test_run_lengths_that_do_not_fill_the_image(counts: list | str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        read_runs(counts, (3, 4))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_impossible_coordinates(value: float) -> None:
    points = ((1.0, 1.0), (value, 1.0), (5.0, 5.0))
    with pytest.raises(ValueError, match="impossible coordinate"):
        check_polygon(points)
    for style in Style:
        with pytest.raises(UserError, match="Impossible coordinate"):
            draw([points], (10, 10), style)


def test_shapes_of_one_annotation_are_united() -> None:
    left, right = ((1.0, 1.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0)), Runs((27, 3, 10), (4, 10))
    window = draw([left, right], (4, 10), Style.COCO)
    assert (window.left, window.top) == (0, 0) and window.pixels.sum() == 4 + 3
