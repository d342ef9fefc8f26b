import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from data.training.grounding import GroundingItem
from models.mdlm.model import MDLM


def test_a_batch_pads_as_sam_does_and_keeps_the_mask_area(mdlm: MDLM) -> None:
    processor = mdlm.processor
    assert processor is not None
    mask = np.zeros((32, 64), bool)
    mask[:16, :32] = True
    item = GroundingItem("a", np.full((32, 64, 3), 200, np.uint8), ["one", "two"], [mask, ~mask])
    batch = processor.collate([item, item])
    side, half = processor.mask_size, processor.mask_size // 2
    assert batch.masks.shape == (4, side, side) and batch.image_index.tolist() == [0, 0, 1, 1]
    assert batch.pixels.shape == (2, 3, processor.sam_size, processor.sam_size)
    assert batch.valid[0, :half].min() == 1 and batch.valid[0, half:].max() == 0
    assert torch.equal(batch.masks[0] + batch.masks[1], batch.valid[0])
    assert batch.masks[0].sum() / batch.valid[0].sum() == mask.mean()
    assert batch.pixels[0, :, processor.sam_size // 2 :].abs().max() == 0


@pytest.mark.parametrize("size", [(64, 64), (900, 31), (31, 900), (50, 100)])
def test_an_axis_at_a_time_is_what_the_whole_square_is(mdlm: MDLM, size: tuple[int, int]) -> None:
    processor = mdlm.processor
    assert processor is not None
    logits = 9 * torch.randn(processor.mask_size, processor.mask_size, generator=torch.Generator().manual_seed(0))
    square = interpolate(logits[None, None], (max(size), max(size)), mode="bilinear", align_corners=False)
    assert torch.allclose(processor.to_native(logits, size), square[0, 0, : size[0], : size[1]], atol=1e-4)


def test_a_line_scan_needs_no_square_of_its_length(mdlm: MDLM) -> None:
    processor = mdlm.processor
    assert processor is not None
    logits = torch.ones(processor.mask_size, processor.mask_size)
    for size in ((1_048_600, 4), (4, 1_048_600)):  # the square would take 4 TB
        assert processor.to_native(logits, size).shape == size


def test_logits_return_to_native_pixels_without_the_padding(mdlm: MDLM) -> None:
    processor = mdlm.processor
    assert processor is not None
    side = processor.mask_size
    logits = torch.full((side, side), -9.0)
    logits[: side // 2, side // 2 :] = 9  # upper right quarter of the square: right half of a 2:1 image
    native = processor.to_native(logits, (50, 100))
    assert native.shape == (50, 100)
    assert native[:, :45].max() < 0 < native[:45, 55:].min()
