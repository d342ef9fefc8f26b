"""The nine regions of the 3×3 grid that the RDL task names (EIAD, Sec. III-A).

Coordinates are xy pixels with the origin at the top left; a size is (height, width).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REGIONS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")


def region_of(point: tuple[float, float], size: tuple[int, int]) -> str:
    """Name of the grid cell that holds a point (x, y)."""
    (x, y), (height, width) = point, size
    column = min(int(3 * x / width), 2)
    row = min(int(3 * y / height), 2)
    return REGIONS[3 * row + column]


def region_pixels(mask: NDArray[np.bool_]) -> dict[str, int]:
    """Number of defect pixels in each of the nine cells.

    Args:
        mask: (H, W) bool. A pixel belongs to the cell that holds its upper left corner.
    """
    height, width = mask.shape
    rows = 3 * np.arange(height) // height
    columns = 3 * np.arange(width) // width
    by_row = np.zeros((3, width), np.int64)
    np.add.at(by_row, rows, mask)
    cells = np.zeros((3, 3), np.int64)
    np.add.at(cells.T, columns, by_row.T)
    return dict(zip(REGIONS, cells.ravel().tolist(), strict=True))
