from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.errors import UserError
from data.image_size import read_size
from data.sample import load_image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_agrees_with_decoding(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((30, 50, 3), np.uint8))
    assert read_size(path) == (30, 50) == load_image(path).shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_has_the_size_that_it_decodes_to(orientation: int, tmp_path: Path) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[274] = orientation
    Image.new("RGB", (50, 30)).save(path, exif=exif)
    assert read_size(path) == load_image(path).shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("keep", [0, 2, 40, -12])
def test_a_file_cut_short_is_corrupt(suffix: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=rf"Corrupt image: .*a\{suffix}"):
        read_size(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Missing image"):
        read_size(tmp_path / "a.png")
