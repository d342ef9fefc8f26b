"""How unlike the rest of its image, or the other instances in it, each place is (SAA+, Sec. 3.4).

Features are stages of a frozen backbone, later ones enlarged to the first one's grid by repetition, concatenated, of
unit length.

Shapes: image (H, W, 3); features (C, h, w); masks (N, h, w); saliency (h, w) in 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.sample import ImageArray
from models.experts.backbone import Backbone

MOST_DISTANT = 400  # places that a place is compared with
BLOCK = 1024  # places at a time


@torch.inference_mode()
def extract_features(backbone: Backbone, image: ImageArray, side: int) -> Tensor:
    """Features of an image that is stretched to a square, (C, h, w), unit length."""
    square = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))
    batch = torch.from_numpy(square).permute(2, 0, 1)[None].to(backbone.device, torch.float32) / 127.5 - 1
    first, *rest = backbone.model(backbone.normalise(batch))
    stages = [first, *(F.interpolate(stage, size=first.shape[-2:], mode="nearest") for stage in rest)]
    return F.normalize(torch.cat(stages, 1), dim=1)[0]


@torch.inference_mode()
def single_saliency(features: Tensor) -> Tensor:
    """Of an image with one object: mean of the 400 largest ½(1 − cos) from each place to the places of the image."""
    points = features.flatten(1)  # (C, P)
    count = min(MOST_DISTANT, points.shape[1])
    rows = [(0.5 * (1 - block.T @ points)).topk(count, dim=1).values.mean(1) for block in points.split(BLOCK, 1)]
    return torch.cat(rows).view(features.shape[1:])


@torch.inference_mode()
def instance_saliency(features: Tensor, masks: Tensor) -> Tensor:
    """Of an image with several objects: ½(1 − the largest cosine to the other instances); zero outside of all.

    A place that an instance shares with another one is like nothing (cosine 0) while it is compared for the first.
    Where only one instance was found there is nothing to compare with, and the saliency is zero.

    Args:
        features: (C, h, w).
        masks: (N, h, w), bool, one an instance.
    """
    points = features.flatten(1)
    saliency = torch.zeros(points.shape[1], device=points.device)
    flat = masks.flatten(1).to(points.device)
    for index, own in enumerate(flat):
        others = torch.cat([flat[:index], flat[index + 1 :]]).any(0)
        if not own.any() or not others.any():
            continue
        known = points[:, others].masked_fill(own[others], 0)
        nearest = torch.cat([(block.T @ known).max(1).values for block in points[:, own].split(BLOCK, 1)])
        saliency[own] = torch.maximum(saliency[own], 0.5 * (1 - nearest))
    return saliency.view(features.shape[1:])
