"""Annotated shapes drawn as masks, as the tool that wrote them does: labelme's polygons, COCO's polygons and runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data.errors import UserError

Polygon = tuple[tuple[float, float], ...]  # ((x, y), …), coordinates of corners: the first pixel is from 0 to 1
FINE = 5  # COCO traces a polygon on a grid this many times finer than the pixels
FARTHEST = 1e7  # no picture is that large
FAR = (1e5, 100)  # so many pixels away, and so many sides of the picture, a coordinate is a mistake, not sloppiness


class Style(Enum):
    """Who wrote the polygons. Both take coordinates of corners, and differ in which pixels of the edge they mark."""

    LABELME = "labelme"
    COCO = "coco"


@dataclass(frozen=True, slots=True)
class Runs:
    """A mask in COCO's run lengths: unmarked and marked pixels by turns, down the columns.

    Attributes:
        counts: Lengths of the runs; the first one is unmarked.
        size: (height, width) of the image.
    """

    counts: tuple[int, ...]
    size: tuple[int, int]


Shape = Polygon | Runs


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a mask: its left upper corner and its pixels."""

    left: int
    top: int
    pixels: NDArray[np.bool_]


def check_polygon(points: Sequence[tuple[float, float]]) -> None:
    """Refuses coordinates that no image has.

    Raises:
        ValueError: Naming the coordinate.
    """
    for value in (value for point in points for value in point):
        if not math.isfinite(value) or abs(value) > FARTHEST:
            raise ValueError(f"impossible coordinate {value}")


def draw(shapes: Sequence[Shape], size: tuple[int, int], style: Style) -> Window | None:
    """Draws the shapes of one annotation, which are united, in the part of the image that they touch.

    A polygon too thin to hold the middle of any pixel marks the pixel that it lies in: an annotated defect never
    vanishes.

    Args:
        shapes: The shapes.
        size: (height, width) of the image.
        style: How polygons are drawn.

    Returns:
        None where they lie outside of the image.

    Raises:
        UserError: If run lengths are of another size, or a coordinate lies far outside.
    """
    windows = [window for shape in shapes if (window := _draw(shape, size, style))]
    if len(windows) < 2:
        return windows[0] if windows else None
    left, top = (min(corner) for corner in zip(*((one.left, one.top) for one in windows), strict=True))
    right = max(one.left + one.pixels.shape[1] for one in windows)
    bottom = max(one.top + one.pixels.shape[0] for one in windows)
    whole = Window(left, top, np.zeros((bottom - top, right - left), bool))
    for one in windows:
        paste(one, whole.pixels, left, top)
    return whole


def paste(window: Window, canvas: NDArray[np.bool_], left: int = 0, top: int = 0) -> None:
    """Adds a piece to a mask whose left upper corner is at (left, top)."""
    height, width = window.pixels.shape
    y, x = window.top - top, window.left - left
    canvas[y : y + height, x : x + width] |= window.pixels


def _draw(shape: Shape, size: tuple[int, int], style: Style) -> Window | None:
    if isinstance(shape, Runs):
        return Window(0, 0, _fill_runs(shape, size))
    points = np.asarray(shape, np.float64)
    if not np.isfinite(points).all() or np.abs(points).max() > max(FAR[0], FAR[1] * max(size)):
        worst = points.flat[np.nanargmax(np.abs(points))] if not np.isnan(points).all() else math.nan
        raise UserError(
            f"Impossible coordinate {worst} of a polygon on an image of {size[1]}x{size[0]} (width x height). "
            "Correct the annotation."
        )
    window = (_draw_labelme if style is Style.LABELME else _draw_coco)(points, size)
    return window if window is None or window.pixels.any() else _mark_one(points, size)


def _clip(low: NDArray, high: NDArray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The part of a box of pixels, end included, that lies in the image: left, top, right, bottom, end-exclusive."""
    left, top = np.clip(low, 0, size[::-1]).astype(int).tolist()
    right, bottom = np.clip(high + 1, 0, size[::-1]).astype(int).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else None


def _draw_labelme(points: NDArray, size: tuple[int, int]) -> Window | None:
    """Pillow's polygon with its outline, from corners cut to whole pixels, as `labelme.utils.shape_to_mask` draws."""
    corners = np.trunc(points).astype(int)
    box = _clip(corners.min(axis=0), corners.max(axis=0), size)
    if box is None:
        return None
    left, top, right, bottom = box
    canvas = Image.new("L", (right - left, bottom - top))
    flat = [(int(x), int(y)) for x, y in corners - (left, top)]
    pen = ImageDraw.Draw(canvas)
    if len(flat) > 1:
        pen.polygon(flat, outline=1, fill=1)
    else:
        pen.point(flat, fill=1)
    return Window(left, top, np.asarray(canvas) > 0)


def _draw_coco(points: NDArray, size: tuple[int, int]) -> Window | None:
    """COCO's rule: where the traced edge passes the middle of a column, the column changes from unmarked to marked.

    The edge is traced on a grid `FINE` times finer than the pixels, whole numbers all through.
    """
    u, v = _trace(np.trunc(FINE * points + 0.5).astype(np.int64))
    steps = np.flatnonzero(u[1:] != u[:-1])
    across = np.minimum(u[steps], u[steps + 1])
    along = np.minimum(v[steps], v[steps + 1])
    height, width = size
    column, middle = np.divmod(across - FINE // 2, FINE)
    kept = (middle == 0) & (column >= 0) & (column < width)
    column = column[kept]
    row = np.clip(-((FINE // 2 - along[kept]) // FINE), 0, height)  # rounded up
    if not column.size:
        return _mark_one(points, size)
    left, top = int(column.min()), int(row.min())
    if top == height:
        return None
    changes = np.zeros((int(row.max()) - top + 1, int(column.max()) - left + 1), np.int64)
    np.add.at(changes, (row - top, column - left), 1)
    return Window(left, top, (np.cumsum(changes, axis=0)[: height - top] % 2).astype(bool))


def _trace(corners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All points of the closed line through some corners, one a step along the longer axis of each edge."""
    start, end = corners, np.roll(corners, -1, axis=0)
    reach = np.abs(end - start)
    flat = reach[:, 0] >= reach[:, 1]  # edges that are walked along x
    length = reach.max(axis=1)
    backward = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    low, high = np.where(backward[:, None], end, start), np.where(backward[:, None], start, end)
    rise = np.where(flat, high[:, 1] - low[:, 1], high[:, 0] - low[:, 0])
    slope = np.divide(rise, length, out=np.zeros(len(rise)), where=length > 0)
    edge = np.repeat(np.arange(len(start)), length + 1)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(length + 1) - length - 1, length + 1)
    step = np.where(backward[edge], length[edge] - step, step)
    walked = step + np.where(flat, low[:, 0], low[:, 1])[edge]
    aside = np.trunc(np.where(flat, low[:, 1], low[:, 0])[edge] + slope[edge] * step + 0.5).astype(np.int64)
    return np.where(flat[edge], walked, aside), np.where(flat[edge], aside, walked)


def _mark_one(points: NDArray, size: tuple[int, int]) -> Window | None:
    """The pixel that the middle of a shape lies in."""
    middle = np.floor((points.min(axis=0) + points.max(axis=0)) / 2)
    box = _clip(middle, middle, size)
    return Window(box[0], box[1], np.ones((1, 1), bool)) if box else None


def _fill_runs(runs: Runs, size: tuple[int, int]) -> NDArray[np.bool_]:
    if runs.size != size:
        raise UserError(
            f"Run lengths of another size: {runs.size[1]}x{runs.size[0]}, the image is {size[1]}x{size[0]} "
            "(width x height). Correct the annotation."
        )
    marked = np.arange(len(runs.counts)) % 2 == 1
    return np.repeat(marked, runs.counts).reshape(size[::-1]).T


def read_runs(counts: str | Sequence[int], size: Sequence[int]) -> Runs:
    """Run lengths as COCO writes them: a list of numbers, or its compressed text.

    The text holds each number in groups of 5 bits, the lowest first, in characters from `0` on; bit 6 says that more
    groups follow, and from the fourth number on the difference to the last but one is written.

    Raises:
        ValueError: If they are malformed, or do not fill the image.
    """
    numbers = _decompress(counts) if isinstance(counts, str) else [int(value) for value in counts]
    height, width = (int(value) for value in size)
    if min(numbers, default=-1) < 0 or sum(numbers) != height * width:
        raise ValueError(f"run lengths that do not fill {width}x{height}")
    return Runs(tuple(numbers), (height, width))


def _decompress(text: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError(f"the character {character!r} in compressed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths that end in the middle of a number")
    return numbers
