from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.minicpmv4_6.image_processing_minicpmv4_6 import MiniCPMV4_6ImageProcessor

from data.errors import UserError
from data.masks import MaskFile
from data.sample import Sample, load_image, load_mask, resize_image
from models.tiny.batched_vision import patchify


def make_sample(folder: Path, **changes) -> Sample:
    values = {"id": "d/a.png", "dataset": "d", "category": "c", "split": "test", "image": folder / "a.png"}
    return Sample(**(values | changes))


def test_image_is_rgb_and_grey_becomes_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blue.png"), np.full((2, 3, 3), (255, 0, 0), np.uint8))
    assert load_image(tmp_path / "blue.png")[0, 0].tolist() == [0, 0, 255]
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((2, 3), 7, np.uint8))
    assert load_image(tmp_path / "grey.png").shape == (2, 3, 3)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_corrupt_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"Corrupt image: .*a\.png"):
        load_image(tmp_path / "a.png")


def test_truncated_png_is_corrupt(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "a.png"), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="Corrupt image"):
        load_image(tmp_path / "a.png")


def test_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Missing image: .*a\.png"):
        load_image(tmp_path / "a.png")


def test_mask_rules(tmp_path: Path) -> None:
    assert not load_mask(make_sample(tmp_path), (2, 3)).any()
    with pytest.raises(UserError, match="Image without its mask"):
        load_mask(make_sample(tmp_path, defect="scratch"), (2, 3))
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((2, 3), np.uint8))
    with pytest.raises(UserError, match="Empty mask"):
        load_mask(make_sample(tmp_path, defect="scratch", mask=MaskFile(tmp_path / "m.png")), (2, 3))


def test_an_image_is_resized_as_the_processor_of_minicpm_v_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 192, 3), np.uint8)
    processor = MiniCPMV4_6ImageProcessor(scale_resolution=96, patch_size=8, slice_mode=False, max_slice_nums=1)
    seen = processor(images=[Image.fromarray(image)], return_tensors="pt")
    rows, columns = (8 * int(side) for side in seen["target_sizes"][0])
    resized = torch.from_numpy(resize_image(image, (rows, columns)).copy())
    difference = seen["pixel_values"] - patchify(resized[None], patch_size=8)
    assert 127.5 * difference.abs().max() < 1.5  # grey levels; an average over areas is off by tens
