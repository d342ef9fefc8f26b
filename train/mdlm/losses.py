"""The mask grounding loss: BCE + DICE (EIAD, Sec. III-D)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from train.engine.ranks import weigh


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """Weights of the two terms. The paper names none; these are LISA's, whose loss it follows.

    Attributes:
        bce_weight: λ_bce.
        dice_weight: λ_dice.
    """

    bce_weight: float = 2.0
    dice_weight: float = 0.5


@dataclass(frozen=True, slots=True)
class MaskLoss:
    """The loss and its two unweighted terms, all scalars."""

    total: Tensor
    bce: Tensor
    dice: Tensor


def mask_loss(logits: Tensor, masks: Tensor, valid: Tensor, config: LossConfig) -> MaskLoss:
    """Weighted BCE + DICE.

    BCE is averaged over the valid pixels of each mask, then over masks. DICE on an empty mask is 1 for any
    prediction above zero and has almost no gradient, so normal images count in BCE alone; DICE is averaged over the
    masks that have pixels (0 when none has). In a run of several ranks both averages are over the masks of all ranks:
    the mean over the ranks of what each returns.

    Args:
        logits: (N, M, M), before the sigmoid.
        masks: (N, M, M), share of defect area in 0..1.
        valid: (N, M, M), weight of each pixel in 0..1, 0 in the padding.
        config: Weights.

    Raises:
        ValueError: If the shapes differ.
    """
    if not logits.shape == masks.shape == valid.shape:
        raise ValueError(f"Shapes differ: logits {logits.shape}, masks {masks.shape}, valid {valid.shape}.")
    logits = logits.float()
    pixels = valid.sum((1, 2)).clamp(min=1)
    per_pixel = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    bce = ((per_pixel * valid).sum((1, 2)) / pixels).sum() / max(1, len(masks))
    shares = logits.sigmoid() * valid
    overlap = (shares * masks).sum((1, 2))
    dice = 1 - 2 * overlap / (shares.sum((1, 2)) + masks.sum((1, 2))).clamp(min=1e-6)
    filled = masks.sum((1, 2)) > 0
    dice = (dice * filled).sum() / filled.sum().clamp(min=1)
    bce, dice = weigh(bce, len(masks)), weigh(dice, filled.sum())
    return MaskLoss(config.bce_weight * bce + config.dice_weight * dice, bce, dice)
