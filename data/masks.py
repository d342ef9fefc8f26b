"""Masks: from image files and polygons to boolean arrays, connected components and boxes.

Boxes are xyxy in pixels, end-exclusive: a single pixel at (x, y) has the box (x, y, x + 1, y + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.pixels.levels import decode_levels
from data.pixels.shapes import Shape, Style, Window, draw, paste

MANY_BANDS = 16  # beyond it, many small windows cost more than one large


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A raster mask on disk; pixels above `threshold` are defect."""

    path: Path
    threshold: int = 0

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Several raster masks of one image, whose union is its mask; pixels above `threshold` are defect.

    Attributes:
        paths: The files, all in one folder.
        threshold: As in `MaskFile`.
        names: (pixel value, defect name) for masks whose value tells the type of the defect; empty where it does not.
    """

    paths: tuple[Path, ...]
    threshold: int = 0
    names: tuple[tuple[int, str], ...] = ()

    @property
    def path(self) -> Path:
        """The folder of the files."""
        return self.paths[0].parent

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Polygons:
    """Annotated polygons, and the file they come from.

    Attributes:
        points: Each polygon as ((x, y), …), in the coordinates of corners; COCO's run lengths may stand among them.
        path: The annotation file.
        parts: Number of the defect region that each polygon is a part of; empty when each is a region of its own.
        style: Who wrote them, and so how they are drawn.
    """

    points: tuple[Shape, ...]
    path: Path
    parts: tuple[int, ...] = ()
    style: Style = Style.LABELME

    def __str__(self) -> str:
        return str(self.path)


MaskSource = MaskFile | MaskFiles | Polygons


class Box(NamedTuple):
    """xyxy in pixels, end-exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


class Region(NamedTuple):
    """One defect region: its box, its area in pixels and its centroid (x, y) in pixels."""

    box: Box
    area: int
    centroid: tuple[float, float]


def read_mask(source: MaskSource, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decodes a mask.

    Args:
        source: Where the mask comes from.
        size: (height, width) of the image.

    Returns:
        (H, W) bool, True on the defect.

    Raises:
        UserError: If the file is missing, does not decode, or has another size than the image, or a shape cannot be
            drawn.
    """
    if isinstance(source, Polygons):
        mask = np.zeros(size, bool)
        for window in _windows(source, size):
            paste(window, mask)
        return mask
    mask = decode_mask(source)
    if mask.shape != size:
        turned = ask_turned("mask", mask.shape, size)
        raise UserError(
            f"Mask of another size: {source.path} is {mask.shape[1]}x{mask.shape[0]}, its image "
            f"{size[1]}x{size[0]} (width x height).{turned} Replace the mask."
        )
    return mask


def ask_turned(what: str, size: Sequence[int], photo: Sequence[int]) -> str:
    """A question for whoever is told of two sizes, (H, W), where one is the other turned; else nothing."""
    is_turned = tuple(size) == tuple(photo)[::-1]
    return f" Is the photo turned by its orientation tag, and the {what} not?" if is_turned else ""


def _windows(source: Polygons, size: tuple[int, int]) -> list[Window]:
    """Each defect region drawn, those outside of the image left out."""
    grouped: dict[int, list[Shape]] = {}
    for number, shape in zip(source.parts or range(len(source.points)), source.points, strict=True):
        grouped.setdefault(number, []).append(shape)
    try:
        drawn = [draw(shapes, size, source.style) for shapes in grouped.values()]
    except UserError as error:
        raise UserError(f"{source.path}: {error}") from error
    return [window for window in drawn if window is not None]


def decode_mask(source: MaskFile | MaskFiles) -> NDArray[np.bool_]:
    """Decodes a raster mask at its own size: (H, W) bool.

    Raises:
        UserError: If a file is missing or does not decode, or the files of one image differ in size.
    """
    if isinstance(source, MaskFile):
        return decode_levels(source.path) > source.threshold
    union = decode_levels(source.paths[0]) > source.threshold
    for path in source.paths[1:]:
        part = decode_levels(path)
        if part.shape != union.shape:
            raise UserError(
                f"Masks of one image differ in size: {path} is {part.shape[1]}x{part.shape[0]}, {source.paths[0]} "
                f"{union.shape[1]}x{union.shape[0]} (width x height). Replace the wrong one."
            )
        union |= part > source.threshold
    return union


def mask_defects(source: MaskFiles) -> list[str]:
    """Decodes which defect types a mask marks, by its pixel values; sorted, each once.

    Raises:
        UserError: If the source has no names, a value has none, or a file is missing or does not decode.
    """
    names = dict(source.names)
    if not names:
        raise UserError(f"No names for the pixel values of {source}. Add the dataset's file that gives them.")
    found = set()
    for path in source.paths:
        pixels = decode_levels(path)
        for value in np.unique(pixels[pixels > source.threshold]).tolist():
            if value not in names:
                raise UserError(f"Unknown pixel value {value} in {path}. Known: {sorted(names)}. Replace it.")
            found.add(names[value])
    return sorted(found)


def defect_regions(source: MaskSource, mask: NDArray[np.bool_]) -> list[Region]:
    """Splits a mask into defect regions, largest first.

    For polygons one annotation is one region, be it in several parts; for raster masks one 8-connected component.

    Args:
        source: Where the mask came from.
        mask: (H, W) bool, as `read_mask` returned it.
    """
    if isinstance(source, Polygons):
        regions = [_region(window) for window in _windows(source, (mask.shape[0], mask.shape[1]))]
    else:
        regions = components(mask)
    return sorted(regions, key=lambda region: (-region.area, region.box))


def _region(window: Window) -> Region:
    rows, columns = window.pixels.nonzero()
    left, top = window.left, window.top
    x, y, width, height = cv2.boundingRect(window.pixels.view(np.uint8))
    centroid = left + float(columns.mean()), top + float(rows.mean())
    return Region(Box(left + x, top + y, left + x + width, top + y + height), len(rows), centroid)


def components(mask: NDArray[np.bool_]) -> list[Region]:
    """8-connected components of a mask, largest first.

    Labels only windows between the mask's empty rows and columns, which no component crosses: many times faster than
    the whole frame where defects are small, with the same result.

    Args:
        mask: (H, W) bool.
    """
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    bands = _runs(np.asarray(pixels.view(bool).any(axis=1)))
    if len(bands) > MANY_BANDS:
        bands = [(bands[0][0], bands[-1][1])]
    regions = []
    for y0, y1 in bands:
        band = pixels[y0:y1]
        windows = _runs(np.bitwise_or.reduce(band, axis=0) > 0)
        if len(windows) > MANY_BANDS:
            windows = [(windows[0][0], windows[-1][1])]
        for x0, x1 in windows:
            regions += _label(band[:, x0:x1], x0, y0)
    return sorted(regions, key=lambda region: (-region.area, region.box))


def _runs(occupied: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Maximal runs of True, as (start, end)."""
    padded = np.zeros(len(occupied) + 2, bool)
    padded[1:-1] = occupied
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _label(window: NDArray[np.uint8], left: int, top: int) -> list[Region]:
    height, width = window.shape
    most = ((width + 1) // 2) * ((height + 1) // 2)  # no mask has more 8-connected components
    kind = cv2.CV_16U if most < 2**16 else cv2.CV_32S
    _, _, stats, centroids = cv2.connectedComponentsWithStats(window, connectivity=8, ltype=kind)
    regions = []
    for (x, y, w, h, area), (cx, cy) in zip(stats[1:].tolist(), centroids[1:].tolist(), strict=True):
        box = Box(left + x, top + y, left + x + w, top + y + h)
        regions.append(Region(box, area, (left + cx, top + cy)))
    return regions
