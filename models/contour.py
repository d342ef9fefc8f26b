"""From anomaly map to mask, and the drawings that people (and VELM's MLLM) look at: red outline, heat overlay.

Everything is drawn with OpenCV on the image's own pixels, RGB in and RGB out; the input is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.sample import ImageArray, MaskArray

RED = (230, 30, 40)
GREEN = (20, 130, 70)
BLUE = (40, 110, 230)


@dataclass(kw_only=True, slots=True)
class ContourConfig:
    """From anomaly map to mask and outline.

    Attributes:
        threshold: Map values at or above it are defect. MDLM's map is a probability, so 0.5 is the value at which
            its own loss calls a pixel defect; it is never tuned on zero-shot images.
        min_area: Regions smaller than this share of the image are dropped from the mask as specks.
        line_width: Width of the outline as a share of the image's longer side (at least one pixel).
    """

    threshold: float = 0.5
    min_area: float = 0.0001
    line_width: float = 0.008


def find_mask(anomaly_map: NDArray[np.floating], config: ContourConfig) -> MaskArray:
    """Thresholds an anomaly map and drops specks.

    Args:
        anomaly_map: (H, W), higher is worse.
        config: Threshold and smallest region.

    Returns:
        (H, W) bool.
    """
    mask = anomaly_map >= config.threshold
    least = config.min_area * mask.size
    if least <= 1 or not mask.any():
        return mask
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return keep[regions]


def draw_contour(
    image: ImageArray, mask: MaskArray, config: ContourConfig, colour: tuple[int, int, int] = RED
) -> ImageArray:
    """Draws the outline of a mask around it: the line lies outside the mask, so the defect itself stays visible.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool.
        config: Line width.
        colour: RGB.
    """
    width = max(1, round(config.line_width * max(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    grown = cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
    drawn = image.copy()
    drawn[grown & ~mask] = colour
    return drawn


def draw_boxes(
    image: ImageArray,
    boxes: Sequence[tuple[int, int, int, int]],
    config: ContourConfig,
    colour: tuple[int, int, int] = BLUE,
) -> ImageArray:
    """Draws boxes just outside their pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: xyxy pixels, end-exclusive.
        config: Line width.
        colour: RGB.
    """
    drawn = image.copy()
    width = max(1, round(config.line_width * max(image.shape[:2])))
    for x0, y0, x1, y1 in boxes:
        cv2.rectangle(drawn, (x0 - width, y0 - width), (x1 + width - 1, y1 + width - 1), colour, width)
    return drawn


def colour_map(anomaly_map: NDArray[np.floating], low: float = 0.0, high: float = 1.0) -> ImageArray:
    """Colours an anomaly map from dark (at or below `low`) to bright yellow (at or above `high`).

    Args:
        anomaly_map: (H, W), higher is worse.
        low: Value of the darkest colour.
        high: Value of the brightest colour.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    scaled = (np.clip(anomaly_map, low, high) - low) / max(high - low, 1e-12)
    coloured = cv2.applyColorMap((scaled * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), np.uint8)


def draw_heat(image: ImageArray, anomaly_map: NDArray[np.floating], strength: float = 0.65) -> ImageArray:
    """Lays the coloured anomaly map over the image, the more opaque the higher the value.

    Args:
        image: (H, W, 3) uint8 RGB.
        anomaly_map: (H, W) in 0..1.
        strength: Opacity where the map is 1.
    """
    opacity = strength * np.clip(anomaly_map, 0, 1).astype(np.float32)[..., None]
    return (image * (1 - opacity) + colour_map(anomaly_map) * opacity).round().astype(np.uint8)
