from __future__ import annotations

import numpy as np

from eval.inspection.regions import find_places


def test_regions_are_boxes_end_exclusive_with_area_and_place_largest_first() -> None:
    anomaly_map = np.zeros((30, 60), np.float32)
    anomaly_map[2:5, 50:58] = 0.9
    anomaly_map[14:16, 29:31] = 0.5
    places = find_places(anomaly_map, 0.5, 0.0, peak=True)
    assert [tuple(region.box) for region in places.regions] == [(50, 2, 58, 5), (29, 14, 31, 16)]
    assert [region.area for region in places.regions] == [24, 4]
    assert places.names == ["top right", "center"]


def test_one_region_alone_is_told_from_another_inside_its_box() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[2:18, 2] = mask[17, 2:18] = 1  # an L …
    mask[5:8, 8:11] = 1  # … and a square inside its box
    places = find_places(mask, 0.5, 0.0, peak=False)
    first, second = places.only(0), places.only(1)
    assert first.sum() == 31 and second.sum() == 9 and not (first & second).any()
    assert np.array_equal(first | second, places.mask)
    assert np.array_equal(places.keep([1]), second) and not places.keep([]).any()


def test_specks_are_dropped() -> None:
    anomaly_map = np.zeros((100, 100), np.float32)
    anomaly_map[5, 5] = anomaly_map[50:60, 50:60] = 1
    assert len(find_places(anomaly_map, 0.5, 0.001, peak=False).regions) == 1


def test_a_flagged_image_is_marked_where_its_map_is_highest() -> None:
    anomaly_map = np.full((20, 20), 0.1, np.float32)
    anomaly_map[4:7, 4:7] = 0.4
    anomaly_map[15, 15] = 0.35
    marked = find_places(anomaly_map, 0.5, 0.0, peak=True)
    assert [tuple(region.box) for region in marked.regions] == [(4, 4, 7, 7)]
    assert not find_places(anomaly_map, 0.5, 0.0, peak=False).regions
    assert not find_places(np.full((20, 20), 0.1, np.float32), 0.5, 0.0, peak=True).regions  # nothing stands out
