"""Where a mark goes: inside one cell of the 3×3 grid, on the product, clear of its neighbours, and visible."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import REGIONS, region_of
from data.factory.canvas import Field, Generator, Pixels, Surface
from data.factory.defects import PAINTERS, Mark
from data.masks import Box

MIN_EXTENT = 14  # longer side of a mark's box, in pixels of a 256-pixel image
MIN_AREA = 0.005  # of the image
MIN_CHANGE = 13  # grey levels, mean over the mark of the most changed channel
MIN_SHARE = 0.6  # of a mark's pixels inside the cell that names it
ON_PRODUCT = 0.85  # of a mark's pixels on the product (the rest is cut off) ...
ON_PRODUCT_OF = {"missing part": 0.5, "bend": 0.65}  # ... less for types that belong to the outline
CELL_MARGIN = 0.06  # of a cell's side, kept free of mark centres on each side
TRIES = 24


@dataclass(frozen=True, slots=True)
class PlacedMark:
    """A mark that has been painted: its defect type, mask (H, W) bool, box and 3×3 region."""

    defect: str
    mask: NDArray[np.bool_]
    box: Box
    region: str


def place_mark(
    rng: Generator,
    surface: Surface,
    image: Pixels,
    defect: str,
    region: str,
    taken: NDArray[np.bool_],
    scale: float = 1,
) -> PlacedMark | None:
    """Paints one defect into `image`, in place, with its box's middle and most of its pixels in `region`.

    Args:
        rng: Source of position, size and looks.
        surface: What is painted on.
        image: (H, W, 3) the surface with the marks so far; only the pixels of the new mask change.
        defect: Key of `PAINTERS`.
        region: One of the nine `REGIONS`.
        taken: (H, W) bool, pixels to stay away from.
        scale: Factor on the mark's size.

    Returns:
        The mark, or None when the product offers no room there.
    """
    size = image.shape[0]
    anchors = _anchors(surface, region, at_edge=defect == "missing part")
    if not len(anchors):
        return None
    for _ in range(TRIES):
        mark = PAINTERS[defect](rng, scale * size / 256)
        row, column = anchors[int(rng.integers(len(anchors)))]
        window = _window(mark.cover, int(row), int(column), size)
        if window is None:
            continue
        inner, outer = window
        placed = _try(mark, inner, outer, surface, image, defect, region, taken)
        if placed is not None:
            return placed
    return None


def _anchors(surface: Surface, region: str, *, at_edge: bool) -> NDArray[np.int64]:
    """Candidate centres, (N, 2) as (row, column): the product's pixels in a cell, near its outline if asked."""
    size = surface.foreground.shape[0]
    row, column = divmod(REGIONS.index(region), 3)
    top, left = round((row + CELL_MARGIN) * size / 3), round((column + CELL_MARGIN) * size / 3)
    bottom, right = round((row + 1 - CELL_MARGIN) * size / 3), round((column + 1 - CELL_MARGIN) * size / 3)
    cell = surface.foreground[top:bottom, left:right]
    if at_edge and not cell.all():
        depth = cv2.distanceTransform(surface.foreground.astype(np.uint8), cv2.DIST_L2, 3)
        depth = depth[top:bottom, left:right]
        edge = (depth > 0) & (depth < size / 24)
        cell = edge if edge.any() else cell
    return np.argwhere(cell) + (top, left)


_Slices = tuple[slice, slice]


def _window(cover: Field, row: int, column: int, size: int) -> tuple[_Slices, _Slices] | None:
    """The part of a mark's window that falls inside the image, in both coordinates."""
    top, left = row - cover.shape[0] // 2, column - cover.shape[1] // 2
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + cover.shape[0], size), min(left + cover.shape[1], size)
    if y1 <= y0 or x1 <= x0:
        return None
    return (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)), (slice(y0, y1), slice(x0, x1))


def _try(
    mark: Mark,
    inner: _Slices,
    outer: _Slices,
    surface: Surface,
    image: Pixels,
    defect: str,
    region: str,
    taken: NDArray[np.bool_],
) -> PlacedMark | None:
    size = image.shape[0]
    whole = mark.cover > 0.3
    part = np.zeros_like(whole)
    part[inner] = whole[inner] & surface.foreground[outer]
    if part.sum() < max(ON_PRODUCT_OF.get(defect, ON_PRODUCT) * whole.sum(), 1):
        return None
    part = _largest(part)
    if taken[outer][part[inner]].any():
        return None
    area = int(part.sum())
    local = cv2.boundingRect(part.astype(np.uint8))
    x0, y0 = local[0] + outer[1].start - inner[1].start, local[1] + outer[0].start - inner[0].start
    box = Box(x0, y0, x0 + local[2], y0 + local[3])
    if area < MIN_AREA * size * size or max(local[2:]) < MIN_EXTENT * size / 256:
        return None
    if region_of(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), (size, size)) != region:
        return None
    part = part[inner]
    if not _mostly_in(part, outer, region, size):
        return None
    patch = image[outer]
    pasted = np.zeros((*whole.shape, 3), np.float32), np.zeros((*whole.shape, 3), np.float32)
    pasted[0][inner], pasted[1][inner] = patch, surface.backing[outer]
    changed = mark.apply(*pasted)[inner]
    if np.abs(changed - patch)[part].max(axis=1).mean() < MIN_CHANGE:
        return None
    patch[part] = changed[part]
    mask = np.zeros((size, size), bool)
    mask[outer] = part
    return PlacedMark(defect, mask, box, region)


def _mostly_in(part: NDArray[np.bool_], outer: _Slices, region: str, size: int) -> bool:
    """Whether the centroid and most of the pixels lie in the named cell."""
    rows, columns = np.nonzero(part)
    rows, columns = rows + outer[0].start, columns + outer[1].start
    if region_of((float(columns.mean()), float(rows.mean())), (size, size)) != region:
        return False
    row, column = divmod(REGIONS.index(region), 3)
    inside = (rows * 3 // size == row) & (columns * 3 // size == column)
    return bool(inside.mean() >= MIN_SHARE)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 8-connected component."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return numbers == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 2 else mask
