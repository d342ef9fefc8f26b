from types import SimpleNamespace

import torch

from train.mdlm.pictures import draw_masks


def test_image_true_mask_and_prediction_side_by_side() -> None:
    pixels = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    masks, logits = torch.zeros(2, 4, 4), torch.full((2, 4, 4), -20.0)
    masks[1, :, :2], logits[1, 2:] = 1, 20.0
    batch = SimpleNamespace(pixels=pixels, masks=masks, image_index=torch.tensor([0, 0]))
    first, second = draw_masks(batch, logits, count=5)
    assert first.shape == second.shape == (8, 24, 3)
    assert (first[:, :8] == 100).all() and not first[:, 8:].any()
    assert second[0, 8].tolist() == [255] * 3 and not second[0, 15].any()  # left half of the true mask
    assert second[7, 16].tolist() == [255] * 3 and not second[0, 16].any()  # lower half of the prediction
    assert len(draw_masks(batch, logits, count=1)) == 1
