import pytest
import torch
from torch.nn import functional

from train.mdlm.losses import LossConfig, mask_loss


@pytest.mark.parametrize("count", [1, 2, 3])
def test_matches_the_formulas(count: int) -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(count, 5, 5), (torch.rand(count, 5, 5) > 0.6).float()
    loss = mask_loss(logits, masks, torch.ones_like(masks), LossConfig(bce_weight=2.0, dice_weight=0.5))
    bce = functional.binary_cross_entropy_with_logits(logits, masks)
    p = logits.sigmoid()
    dice = 1 - (2 * (p * masks).sum((1, 2)) / (p.sum((1, 2)) + masks.sum((1, 2)))).mean()
    torch.testing.assert_close(loss.bce, bce)
    torch.testing.assert_close(loss.dice, dice)
    torch.testing.assert_close(loss.total, 2 * bce + 0.5 * dice)


def test_the_weights_are_lisas_unless_told_otherwise() -> None:
    assert (LossConfig().bce_weight, LossConfig().dice_weight) == (2.0, 0.5)


def test_a_defect_smaller_than_a_pixel_has_its_own_dice() -> None:
    logits, masks = torch.full((1, 4, 4), -80.0), torch.zeros(1, 4, 4)
    logits[0, 1, 1], masks[0, 1, 1] = 0.0, 0.25
    dice = mask_loss(logits, masks, torch.ones_like(masks), LossConfig()).dice
    assert dice.item() == pytest.approx(1 - 2 * 0.5 * 0.25 / (0.5 + 0.25))


def test_normal_images_count_in_bce_alone() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 4, 4), torch.zeros(2, 4, 4)
    masks[0, 0, 0] = 1
    both = mask_loss(logits, masks, torch.ones_like(masks), LossConfig())
    first = mask_loss(logits[:1], masks[:1], torch.ones_like(masks[:1]), LossConfig())
    torch.testing.assert_close(both.dice, first.dice)
    none = mask_loss(logits[1:], masks[1:], torch.ones_like(masks[1:]), LossConfig())
    assert none.dice == 0 and none.bce > 0


def test_padding_has_no_influence_and_no_gradient() -> None:
    logits = torch.randn(1, 4, 4, requires_grad=True)
    masks, valid = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    masks[0, 0, 0] = 1
    valid[:, 2:] = 0
    loss = mask_loss(logits, masks, valid, LossConfig())
    loss.total.backward()
    assert logits.grad is not None and logits.grad[:, 2:].abs().max() == 0 < logits.grad[:, :2].abs().max()
    cut = mask_loss(logits[:, :2], masks[:, :2], valid[:, :2], LossConfig())
    torch.testing.assert_close(cut.total, loss.total)


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="Shapes differ"):
        mask_loss(torch.zeros(1, 4, 4), torch.zeros(1, 5, 5), torch.zeros(1, 4, 4), LossConfig())
