from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import UserError
from data.files import write_json
from data.sample import load_image
from train.eddm import image_cache
from train.eddm.image_cache import base_side, cache_images


def test_copies_are_small_and_made_once(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    Image.fromarray(pixels[:20, :30]).save(tmp_path / "small.png")
    rows = [{"images": [str(tmp_path / name)], "question": 1} for name in ("large.png", "small.png", "large.png")]
    cached = cache_images(rows, tmp_path / "copies", size=40)
    assert cached[0] == cached[2] != cached[1] and cached[0]["question"] == 1
    first, second = (Path(row["images"][0]) for row in cached[:2])
    assert load_image(first).shape == (20, 40, 3)
    np.testing.assert_array_equal(load_image(second), pixels[:20, :30])  # never enlarged
    before = first.stat().st_mtime_ns
    assert cache_images(rows, tmp_path / "copies", size=40) == cached
    assert first.stat().st_mtime_ns == before


def test_a_copy_looks_as_what_the_processor_sees(tmp_path: Path) -> None:
    """Its training images would be blurred, and the images that it is asked about would not be."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::3] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    row = cache_images([{"images": [str(tmp_path / "stripes.png")]}], tmp_path / "copies", size=48)[0]
    wanted = np.asarray(Image.fromarray(stripes).resize((48, 48), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(load_image(Path(row["images"][0])), wanted)


def test_ms_swift_sees_turned_and_deep_images_as_the_project_does(tmp_path: Path) -> None:
    from swift.template.vision_utils import load_image as swift_load

    pixels, exif = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8), Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    names = [str(tmp_path / name) for name in ("turned.jpg", "deep.png", "plain.png")]
    (row,) = cache_images([{"images": names}], tmp_path / "copies", size=None)
    assert row["images"][2] == names[2] and row["images"][0] != names[0]
    for name, seen in zip(names, row["images"], strict=True):
        np.testing.assert_array_equal(np.asarray(swift_load(seen)), load_image(Path(name)))
    assert swift_load(row["images"][0]).size == (30, 50)


def test_a_changed_image_is_copied_anew(tmp_path: Path) -> None:
    copies = []
    for value in (0, 1000):
        Image.fromarray(np.full((9, 9), value * 60, np.uint16)).save(tmp_path / "deep.png")
        (row,) = cache_images([{"images": [str(tmp_path / "deep.png")]}], tmp_path / "copies", size=None)
        copies.append(load_image(Path(row["images"][0])).max())
    assert copies == [0, 60000 >> 8]


def test_more_pixels_than_ms_swift_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache, "MOST", 100)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png")
    rows = [{"images": [str(tmp_path / "a.png")]}]
    with pytest.raises(UserError, match=r"a\.png is 30x20, more than 100 pixels.*optim\.image_size"):
        cache_images(rows, tmp_path / "copies", size=None)
    assert load_image(Path(cache_images(rows, tmp_path / "copies", size=6)[0]["images"][0])).shape == (4, 6, 3)


def test_the_side_is_that_of_the_base(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"image_size=0.*names no scale_resolution"):
        base_side(tmp_path)
    write_json(tmp_path / "preprocessor_config.json", {"scale_resolution": 448})
    assert base_side(tmp_path) == 448
    write_json(tmp_path / "processor_config.json", {"image_processor": {"scale_resolution": 144}})
    assert base_side(tmp_path) == 144
