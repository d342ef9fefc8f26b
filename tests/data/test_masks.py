from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from data.errors import UserError
from data.masks import (
    Box,
    MaskFile,
    MaskFiles,
    Polygons,
    ask_turned,
    components,
    decode_mask,
    defect_regions,
    mask_defects,
    read_mask,
)


def test_boxes_are_end_exclusive() -> None:
    mask = np.zeros((10, 20), bool)
    mask[3, 5] = True
    (region,) = components(mask)
    assert region.box == Box(5, 3, 6, 4)
    assert region.area == 1
    assert region.centroid == (5.0, 3.0)


def dots(step: int) -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[3::step, 5::step] = True
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        np.random.default_rng(0).random((60, 80)) > 0.8,
        np.random.default_rng(1).random((60, 80)) > 0.995,
        dots(2),
        dots(9),
        np.eye(60, 80, dtype=bool) | np.eye(60, 80, 40, dtype=bool),
        np.ones((60, 80), bool),
    ],
    ids=["noise", "specks", "many dots", "dots", "diagonals", "full"],
)
def test_components_match_an_independent_labelling(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    regions = components(mask)
    assert len(regions) == count
    expected = sorted((int((labels == index).sum()) for index in range(1, count + 1)), reverse=True)
    assert [region.area for region in regions] == expected
    slices = {(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in ndimage.find_objects(labels)}
    assert {tuple(region.box) for region in regions} == slices


def test_empty_mask_has_no_components() -> None:
    assert components(np.zeros((5, 5), bool)) == []


def test_threshold_and_size(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.array([[0, 1, 128], [127, 200, 255]], np.uint8))
    assert read_mask(MaskFile(path), (2, 3)).sum() == 5
    assert read_mask(MaskFile(path, threshold=127), (2, 3)).sum() == 3
    with pytest.raises(UserError, match=r"mask\.png is 3x2, its image 4x2"):
        read_mask(MaskFile(path), (2, 4))


@pytest.mark.parametrize("content", [b"", b"\x89PNG broken"])
def test_corrupt_mask(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="Corrupt mask"):
        read_mask(MaskFile(path), (2, 3))


def test_polygons_count_one_region_each_even_where_they_touch() -> None:
    left = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
    right = ((4.0, 0.0), (9.0, 0.0), (9.0, 4.0), (4.0, 4.0))
    source = Polygons((left, right), Path("label.json"))
    mask = read_mask(source, (10, 10))
    assert len(components(mask)) == 1
    assert [region.box for region in defect_regions(source, mask)] == [Box(4, 0, 10, 5), Box(0, 0, 5, 5)]


def write_parts(folder: Path) -> tuple[Path, ...]:
    """Three masks: 255 top left, 254 bottom right, 255 touching the first one's corner."""
    parts = []
    for name, (x0, y0, x1, y1), value in [
        ("000", (0, 0, 2, 2), 255),
        ("001", (6, 6, 9, 8), 254),
        ("002", (2, 2, 3, 3), 255),
    ]:
        mask = np.zeros((8, 10), np.uint8)
        mask[y0:y1, x0:x1] = value
        cv2.imwrite(str(folder / f"{name}.png"), mask)
        parts.append(folder / f"{name}.png")
    return tuple(parts)


def test_several_files_are_one_mask(tmp_path: Path) -> None:
    source = MaskFiles(write_parts(tmp_path))
    mask = read_mask(source, (8, 10))
    assert mask.dtype == bool and mask.sum() == 4 + 6 + 1
    assert [region.area for region in defect_regions(source, mask)] == [6, 5]
    assert decode_mask(MaskFiles(source.paths, threshold=254)).sum() == 5
    with pytest.raises(UserError, match=f"{tmp_path.name} is 10x8, its image 9x9"):
        read_mask(source, (9, 9))


def test_a_part_of_another_size_is_named(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    cv2.imwrite(str(paths[1]), np.zeros((8, 12), np.uint8))
    with pytest.raises(UserError, match=r"001\.png is 12x8, .*000\.png 10x8"):
        decode_mask(MaskFiles(paths))


def test_pixel_values_name_the_defects(tmp_path: Path) -> None:
    paths = write_parts(tmp_path)
    assert mask_defects(MaskFiles(paths, names=((255, "missing pin"), (254, "bent pin"), (253, "dirt")))) == [
        "bent pin",
        "missing pin",
    ]
    with pytest.raises(UserError, match=r"Unknown pixel value 254 in .*001\.png"):
        mask_defects(MaskFiles(paths, names=((255, "missing pin"),)))
    with pytest.raises(UserError, match="No names"):
        mask_defects(MaskFiles(paths))


def test_parts_of_one_annotation_are_one_region() -> None:
    squares = [((x, 2.0), (x + 2, 2.0), (x + 2, 4.0), (x, 4.0)) for x in (0.0, 10.0, 20.0)]
    outside = ((90.0, 90.0), (95.0, 90.0), (95.0, 95.0))
    source = Polygons((*squares, outside), Path("label.json"), parts=(0, 1, 0, 2))
    several, single = defect_regions(source, read_mask(source, (10, 30)))
    assert (several.box, several.area, several.centroid) == (Box(0, 2, 23, 5), 18, (11.0, 3.0))
    assert (single.box, single.area, single.centroid) == (Box(10, 2, 13, 5), 9, (11.0, 3.0))


def test_a_mask_in_the_stored_frame_of_a_turned_photo_is_explained(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.ones((30, 50), np.uint8))
    with pytest.raises(UserError, match=r"is 50x30, its image 30x50 .*turned by its orientation tag, and the mask not"):
        read_mask(MaskFile(tmp_path / "m.png"), (50, 30))


def test_regions_numbered_in_16_bits_are_all_found(tmp_path: Path) -> None:
    numbers = np.zeros((40, 60), np.uint16)
    numbers[5:15, 5:15], numbers[25:30, 40:45] = 7, 300
    cv2.imwrite(str(tmp_path / "m.png"), numbers)
    source = MaskFile(tmp_path / "m.png")
    regions = defect_regions(source, read_mask(source, (40, 60)))
    assert [(region.box, region.area) for region in regions] == [(Box(5, 5, 15, 15), 100), (Box(40, 25, 45, 30), 25)]


def test_sizes_that_are_swapped_ask_about_the_orientation_tag() -> None:
    assert ask_turned("map", [50, 30], (30, 50)) == " Is the photo turned by its orientation tag, and the map not?"
    assert ask_turned("mask", (50, 30), (50, 31)) == ""
