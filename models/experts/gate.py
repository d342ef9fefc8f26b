"""The gate: from scores of held-out images to the threshold below which an image is called good (VELM, Sec. 3.1).

The paper does not say how it chose its thresholds. Two ways here: a quantile of normal images that the expert was not
fitted on, which needs no defect at all, or the threshold of the largest F1 on a validation split that has defects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.sample import MaskArray
from models.experts.expert import Gate, MapArray

PIXELS_PER_IMAGE = 65536  # a map with more is thinned to about as many before a quantile or an F1 is taken


class GateMethod(StrEnum):
    """Where the threshold comes from."""

    quantile = "quantile"
    f1_max = "f1_max"


@dataclass(kw_only=True, slots=True)
class GateConfig:
    """How thresholds are chosen.

    Attributes:
        method: `quantile` of held-out normal images, or `f1_max` on a validation split.
        held_out: Share of the normal images that is kept from the fit for `quantile`; at least one image.
        image_quantile: An image scores normal below this quantile of the held-out normals' scores.
        pixel_quantile: A pixel is normal below this quantile of the held-out normals' pixels.
    """

    method: GateMethod = GateMethod.quantile
    held_out: float = 0.2
    image_quantile: float = 0.95
    pixel_quantile: float = 0.999

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a share is out of range.
        """
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out must be between 0 and 1, not {self.held_out}.")
        for name, value in (("image_quantile", self.image_quantile), ("pixel_quantile", self.pixel_quantile)):
            if not 0 < value <= 1:
                raise UserError(f"{name} must be above 0 and at most 1, not {value}.")


def quantile_gate(scores: Sequence[float], maps: Sequence[MapArray], config: GateConfig) -> Gate:
    """Thresholds from normal images that the expert was not fitted on.

    Args:
        scores: Their anomaly scores.
        maps: Their anomaly maps.
        config: The quantiles.

    Raises:
        UserError: If there is no image.
    """
    if not scores:
        raise UserError("No held-out normal images to set the gate on. Raise gate.held_out, or add normal images.")
    pixels = np.concatenate([thin_map(anomaly_map).ravel() for anomaly_map in maps])
    # nextafter: the quantile itself is a normal image's score, which must pass
    score = np.nextafter(np.quantile(scores, config.image_quantile, method="higher"), np.inf)
    return Gate(float(score), float(np.nextafter(np.quantile(pixels, config.pixel_quantile), np.float32(np.inf))))


def f1_max_gate(
    scores: Sequence[float], anomalous: Sequence[bool], maps: Sequence[MapArray], masks: Sequence[MaskArray]
) -> Gate:
    """Thresholds of the largest F1 on a validation split, for images and for pixels.

    Args:
        scores: Anomaly scores.
        anomalous: Whether each image shows a defect.
        maps: Anomaly maps.
        masks: True on the defect, as large as the maps.

    Raises:
        UserError: If the split has no normal or no anomalous image.
    """
    if not any(anomalous) or all(anomalous):
        raise UserError("gate.method=f1_max needs normal and anomalous images in `validation`. Use quantile without.")
    pixels = np.concatenate([thin_map(anomaly_map).ravel() for anomaly_map in maps])
    defects = np.concatenate([thin_map(mask).ravel() for mask in masks])
    return Gate(
        best_threshold(np.asarray(scores, np.float64), np.asarray(anomalous, bool)), best_threshold(pixels, defects)
    )


def best_threshold(values: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The value at or above which calling positive has the largest F1; the highest one among equals."""
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], positive[order]
    last = np.flatnonzero(np.r_[values[1:] != values[:-1], True])  # a threshold takes all equal values with it
    found = np.cumsum(positive)[last]
    f1 = 2 * found / (last + 1 + positive.sum())
    return float(values[last[int(f1.argmax())]])


def thin_map(pixels: NDArray) -> NDArray:
    """Every few pixels of a map, (H, W): about `PIXELS_PER_IMAGE` of them."""
    step = max(1, int(np.sqrt(pixels.size / PIXELS_PER_IMAGE)))
    return pixels[::step, ::step]
