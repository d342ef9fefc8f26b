import numpy as np
import torch

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


def test_logits_return_to_native_pixels_without_the_padding(mdlm: MDLM) -> None:
    processor = mdlm.processor
    assert processor is not None
    side = processor.mask_size
    logits = torch.full((side, side), -9.0)
    logits[: side // 2, side // 2 :] = 9  # upper right quarter of the square: right half of a 2:1 image
    native = processor.to_native(logits, (50, 100))
    assert native.shape == (50, 100)
    assert native[:, :45].max() < 0 < native[:45, 55:].min()
