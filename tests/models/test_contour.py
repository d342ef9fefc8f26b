from __future__ import annotations

import numpy as np

from models.contour import RED, ContourConfig, colour_map, draw_boxes, draw_contour, draw_heat, find_mask


def square(size: int = 60) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[20:30, 25:40] = True
    return mask


def test_mask_holds_values_at_or_above_the_threshold() -> None:
    anomaly_map = np.array([[0.2, 0.5], [0.6, 0.49]], np.float32)
    assert find_mask(anomaly_map, ContourConfig(threshold=0.5)).tolist() == [[False, True], [True, False]]


def test_specks_are_dropped() -> None:
    anomaly_map = square().astype(np.float32)
    anomaly_map[5, 5] = 1
    assert np.array_equal(find_mask(anomaly_map, ContourConfig(min_area=0.001)), square())
    assert find_mask(anomaly_map, ContourConfig(min_area=0)).sum() == square().sum() + 1


def test_an_empty_map_gives_an_empty_mask_and_no_outline() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    mask = find_mask(np.zeros((60, 60), np.float32), ContourConfig())
    assert not mask.any()
    assert np.array_equal(draw_contour(image, mask, ContourConfig()), image)


def test_outline_surrounds_the_defect_and_leaves_it_visible() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    drawn = draw_contour(image, square(), ContourConfig())
    assert (drawn[square()] == 90).all()
    for y, x in [(19, 30), (30, 30), (25, 24), (25, 40)]:
        assert tuple(drawn[y, x]) == RED
    assert (image == 90).all()


def test_line_width_follows_the_image_size() -> None:
    def line_pixels(scale: int) -> int:
        mask = np.kron(square(), np.ones((scale, scale), bool))
        image = np.zeros((*mask.shape, 3), np.uint8)
        return int((draw_contour(image, mask, ContourConfig(line_width=1 / 60))[25 * scale] == RED).all(1).sum())

    assert line_pixels(10) == 10 * line_pixels(1)


def test_boxes_lie_outside_their_pixels() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    drawn = draw_boxes(image, [(20, 20, 30, 30)], ContourConfig())
    assert (drawn[20:30, 20:30] == 90).all()
    assert (drawn[19, 25] != 90).any() and (drawn[30, 25] != 90).any()


def test_colours_rise_with_the_map() -> None:
    colours = colour_map(np.linspace(0, 1, 11, dtype=np.float32)[None])
    assert (np.diff(colours.sum(2).astype(int)) > 0).all()
    assert np.array_equal(colour_map(np.full((2, 2), 7.0)), colour_map(np.ones((2, 2))))


def test_heat_changes_only_hot_pixels() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    drawn = draw_heat(image, square().astype(np.float32))
    assert (drawn[~square()] == 90).all()
    assert (drawn[square()] != 90).any()
