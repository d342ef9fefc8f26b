import inspect

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from transformers import CLIPImageProcessor

from models.mdlm.preprocess import (
    SAM_MEAN,
    SAM_STD,
    fit_longer_side,
    normalise_for_sam,
    normalise_for_tower,
    sam_input,
    tower_input,
)

SIZES = [(40, 64), (97, 33), (200, 200), (31, 30)]


@pytest.fixture(params=SIZES, ids=str)
def image(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*request.param, 3), dtype=np.uint8)


def test_sam_sees_what_its_own_transform_makes(image: np.ndarray) -> None:
    own = ResizeLongestSide(64).apply_image(image)
    pixels, (height, width) = sam_input(image, 64)
    assert (height, width) == own.shape[:2] == fit_longer_side(image.shape[:2], 64)
    assert pixels.dtype == torch.uint8
    assert (pixels[:, :height, :width].permute(1, 2, 0).numpy() == own).all()
    normalised = normalise_for_sam(pixels[None], torch.tensor([[height, width]]))[0]
    expected = (own.astype(np.float32) - np.float32(SAM_MEAN)) / np.float32(SAM_STD)
    assert np.allclose(normalised[:, :height, :width].permute(1, 2, 0), expected, atol=1e-6)
    assert not normalised[:, height:].any() and not normalised[:, :, width:].any()


def test_the_constants_are_those_of_the_published_model() -> None:
    defaults = inspect.signature(Sam).parameters
    assert list(SAM_MEAN) == defaults["pixel_mean"].default
    assert list(SAM_STD) == defaults["pixel_std"].default


def test_the_vision_tower_sees_what_clips_processor_makes(image: np.ndarray) -> None:
    clip = CLIPImageProcessor(size={"height": 48, "width": 48}, do_center_crop=False, do_rescale=True)
    expected = clip(torch.from_numpy(image).permute(2, 0, 1), return_tensors="pt")["pixel_values"][0]
    found = normalise_for_tower(tower_input(image, 48)[None])[0]
    assert (found - expected).abs().mean() < 0.005  # of a standard deviation: both round bytes, not at the same step


def test_square_images_need_no_sizes() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(normalise_for_sam(pixels, None), normalise_for_sam(pixels, torch.full((2, 2), 8)))
