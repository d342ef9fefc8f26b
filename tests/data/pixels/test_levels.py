"""One mask in many containers: the same pixels must be marked."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.masks import MaskFile, decode_mask
from data.pixels.decode import UnreadableError, decode_image
from data.pixels.levels import decode_levels

MARKED = np.zeros((20, 32), bool)
MARKED[4:8, 3:13] = True
FULL = MARKED.astype(np.uint8) * 255
NOTHING = FULL * 0


def palette(numbers: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(numbers.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    return image


KINDS = {
    "grey.png": Image.fromarray(FULL // 255),
    "bool.png": Image.fromarray(MARKED),
    "one.tif": Image.fromarray(MARKED),
    "deep.png": Image.fromarray(MARKED.astype(np.uint16) * 7),
    "deep.tif": Image.fromarray(MARKED.astype(np.uint16) * 300),
    "int32.tif": Image.fromarray(MARKED.astype(np.int32)),
    "float.tif": Image.fromarray(MARKED.astype(np.float32) / 4),
    "red.png": Image.fromarray(np.dstack([FULL, NOTHING, NOTHING])),
    "faint blue.png": Image.fromarray(np.dstack([NOTHING, NOTHING, FULL // 85])),
    "opaque.png": Image.fromarray(np.dstack([FULL, FULL, FULL, NOTHING + 255])),
    "alpha on black.png": Image.fromarray(np.dstack([NOTHING, NOTHING, NOTHING, FULL])),
    "alpha on white.png": Image.fromarray(np.dstack([NOTHING + 255, NOTHING + 255, NOTHING + 255, FULL])),
    "grey alpha.png": Image.fromarray(np.dstack([NOTHING + 255, FULL]), "LA"),
    "alpha.tif": Image.fromarray(np.dstack([NOTHING, NOTHING, NOTHING, FULL])),
    "painted.png": Image.fromarray(np.dstack([FULL, FULL, FULL, FULL])),
    "voc.png": palette(MARKED, (0, 0, 0), (128, 0, 0)),
    "white ground.png": palette(MARKED, (255, 255, 255), (255, 0, 0)),
    "all black.png": palette(MARKED, (0, 0, 0), (0, 0, 0)),
    "grey palette.png": palette(MARKED, (0, 0, 0), (255, 255, 255)),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_same_pixels_are_marked(name: str, tmp_path: Path) -> None:
    KINDS[name].save(tmp_path / name)
    assert np.array_equal(decode_mask(MaskFile(tmp_path / name)), MARKED)


def test_deep_masks_keep_their_numbers(tmp_path: Path) -> None:
    numbers = np.zeros((6, 9), np.uint16)
    numbers[0, :3] = 7, 300, 65535
    cv2.imwrite(str(tmp_path / "a.png"), numbers)
    assert np.array_equal(decode_levels(tmp_path / "a.png"), numbers)
    assert decode_mask(MaskFile(tmp_path / "a.png", threshold=299)).sum() == 2


def test_a_threshold_sees_the_grey_of_a_black_and_white_palette(tmp_path: Path) -> None:
    palette(MARKED, (0, 0, 0), (255, 255, 255)).save(tmp_path / "a.png")
    assert np.array_equal(decode_mask(MaskFile(tmp_path / "a.png", threshold=127)), MARKED)


def test_pages_of_one_size_are_united_and_others_refused(tmp_path: Path) -> None:
    other = np.zeros((20, 32), np.uint8)
    other[10, 10] = 1
    first, second = Image.fromarray(FULL), Image.fromarray(other)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert np.array_equal(decode_mask(MaskFile(tmp_path / "a.tif")), MARKED | (other > 0))
    first.save(tmp_path / "b.tif", save_all=True, append_images=[second.resize((9, 9))])
    with pytest.raises(UnreadableError, match="2 pages of different sizes"):
        decode_levels(tmp_path / "b.tif")


def test_what_could_be_meant_in_two_ways_is_refused(tmp_path: Path) -> None:
    palette(MARKED, (255, 255, 255), (0, 0, 0)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match=r"number 0, the background, is lighter .* Accepted are grey levels"):
        decode_levels(tmp_path / "a.png")
    Image.fromarray(np.dstack([FULL, FULL, FULL, FULL.T.reshape(20, 32)])).save(tmp_path / "b.png")
    with pytest.raises(UnreadableError, match="colours and transparency tell different defects"):
        decode_levels(tmp_path / "b.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_is_turned_as_an_image_is(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": {274: orientation}} if suffix == ".tif" else {"exif": exif}
    Image.fromarray(FULL).save(tmp_path / f"a{suffix}", **options)
    path = tmp_path / f"a{suffix}"
    assert np.array_equal(decode_levels(path), decode_image(path)[..., 0])
    assert decode_levels(path).shape == ((32, 20) if orientation > 4 else (20, 32))


def test_a_transparent_file_without_a_mark_marks_nothing(tmp_path: Path) -> None:
    white = NOTHING + 255
    Image.fromarray(np.dstack([white, white, white, NOTHING])).save(tmp_path / "a.png")
    assert not decode_levels(tmp_path / "a.png").any()
