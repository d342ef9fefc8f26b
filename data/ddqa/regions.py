"""The nine regions of the 3×3 grid that the RDL task names (EIAD, Sec. III-A).

Coordinates are xy pixels with the origin at the top left; a size is (height, width).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from data.masks import Box

REGIONS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")


def region_of(point: tuple[float, float], size: tuple[int, int]) -> str:
    """Name of the grid cell that holds a point (x, y)."""
    (x, y), (height, width) = point, size
    column = min(int(3 * x / width), 2)
    row = min(int(3 * y / height), 2)
    return REGIONS[3 * row + column]


def region_pixels(mask: NDArray[np.bool_], within: Box | None = None) -> dict[str, int]:
    """Number of defect pixels in each of the nine cells.

    Args:
        mask: (H, W) bool. A pixel belongs to the cell that holds its upper left corner.
        within: A box that holds all of them, to look nowhere else.
    """
    height, width = mask.shape
    left, top, right, bottom = within or (0, 0, width, height)
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    rows = [min(max(-(-k * height // 3), top), bottom) for k in range(4)]
    columns = [min(max(-(-k * width // 3), left), right) for k in range(4)]
    cells = [(rows[k], rows[k + 1], columns[j], columns[j + 1]) for k in range(3) for j in range(3)]
    counts = [cv2.countNonZero(pixels[a:b, c:d]) if a < b and c < d else 0 for a, b, c, d in cells]
    return dict(zip(REGIONS, counts, strict=True))
