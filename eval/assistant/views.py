"""The pictures of the page: a photo, its outline or its anomaly map, no larger than a screen."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np

from data.masks import components
from data.sample import ImageArray, MaskArray
from eval.inspection.inspector import Inspected
from eval.inspection.regions import Places
from models.contour import BLUE, ContourConfig, draw_contour, draw_heat

LONGEST = 1280  # pixels of a view's longer side
THUMBNAIL = 200


class View(StrEnum):
    """What is shown of a photo: the photo itself, the outline of its defects, or its anomaly map."""

    image = "image"
    contour = "contour"
    heat = "heat"


def fit(image: ImageArray, longest: int = LONGEST) -> ImageArray:
    """An image, (H, W, 3) uint8 RGB, made smaller where it is larger than a view."""
    size = _fitted(image.shape, longest)
    return image if size == image.shape[1::-1] else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def draw_view(
    image: ImageArray, inspected: Inspected, view: View, *, opacity: float, top: float, chosen: int | None = None
) -> ImageArray:
    """What the page shows of a photo.

    Args:
        image: The photo, (H, W, 3) uint8 RGB, as `fit` made it.
        inspected: What was decided about it.
        view: What is shown.
        opacity: Of the outline or the map, 0..1.
        top: Map value of the brightest colour.
        chosen: A region of the row that is outlined in blue, whatever else is shown.
    """
    look, mask = inspected.look, inspected.mask
    assert look is not None and mask is not None
    size, line = image.shape[1::-1], ContourConfig()
    drawn = image
    if view is View.heat:
        heat = np.asarray(cv2.resize(look.anomaly_map, size, interpolation=cv2.INTER_AREA), np.float32) / top
        drawn = draw_heat(image, heat, strength=opacity)
    elif view is View.contour and mask.any():
        outlined = draw_contour(image, shrink(mask, size), line)
        drawn = cv2.addWeighted(outlined, opacity, image, 1 - opacity, 0)  # type: ignore[assignment]
    if chosen is not None:
        drawn = draw_contour(drawn, shrink(region_mask(mask, chosen), size), line, BLUE)
    return drawn


def region_mask(mask: MaskArray, index: int) -> MaskArray:
    """(H, W) bool: one region of a row alone, whose regions are those of the mask, largest first."""
    return Places(mask, components(mask)).only(index)


def shrink(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    """A mask at (width, height); what is smaller than a pixel there is a pixel."""
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)


def _fitted(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(width, height) of an image whose longer side is at most so long."""
    height, width = shape[:2]
    scale = min(1.0, longest / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
