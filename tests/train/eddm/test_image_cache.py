from pathlib import Path

import numpy as np
from PIL import Image

from data.sample import load_image
from train.eddm.image_cache import cache_images


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
