"""Which part of a photo an expert looks at, and how closely: a region of interest, and tiles that overlap.

A wrapper around an expert: it is fitted on tiles, looks at tiles, and gives one map a photo. What lies outside of the
region is painted grey, in the fit as later, and the map is lowest there. Stored with the expert, so that whoever loads
it looks in the same way:

frame.json  {"tiles", "overlap", "polygon"}
roi.png     the region, where it was given as an image: white is looked at

Shapes: photo (H, W, 3); map (H, W).
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.files import make_dir, read_json, write_json
from data.image_size import read_size
from data.masks import Box, MaskFile, decode_mask
from data.sample import ImageArray, MaskArray, Sample, load_image
from models.experts.expert import Detection, Fitted, MapArray, detect_by_category

FRAME, ROI = "frame.json", "roi.png"
GREY = 128  # outside of the region
CHUNK = 32  # tiles that are looked at together
SHAPES_DIFFER = 0.02  # relative difference of width / height at which a region does not belong to a photo


class Frame:
    """A region of interest and tiles.

    Args:
        region: The region as an image, (h, w), True inside; it is stretched to photos of another size. None for none.
        polygon: The region as points (x, y): pixels, or shares of width and height if none is above 1. Empty for none.
        tiles: Tiles along the longer side; the shorter one gets as many of about the same size.
        overlap: Share of a tile that its neighbour sees, too.

    Raises:
        UserError: If a value is out of range, or the region is empty.
    """

    def __init__(
        self,
        region: MaskArray | None = None,
        polygon: Sequence[tuple[float, float]] = (),
        tiles: int = 1,
        overlap: float = 0.2,
    ) -> None:
        if not 1 <= tiles <= 64 or not 0 <= overlap <= 0.5:
            raise UserError(f"tiles={tiles} must be within 1..64 and overlap={overlap} within 0..0.5.")
        if region is not None and not region.any():
            raise UserError("The region of interest is empty: paint what shall be looked at white.")
        self.polygon, self.tiles, self.overlap = tuple(polygon), tiles, overlap
        self._region = region
        self.inside = lru_cache(maxsize=4)(self._inside)

    def __bool__(self) -> bool:
        """Whether it changes anything."""
        return self._region is not None or bool(self.polygon) or self.tiles > 1

    def _inside(self, size: tuple[int, int]) -> MaskArray | None:
        """The region in a photo of (height, width); None where all is looked at.

        Raises:
            UserError: If the photo has another shape, or the polygon lies outside of it.
        """
        if self._region is not None:
            height, width = self._region.shape
            if abs(math.log(width / height * size[0] / size[1])) > SHAPES_DIFFER:
                raise UserError(
                    f"A photo of {size[1]}x{size[0]} does not have the shape of its region of interest, "
                    f"{width}x{height} (width x height). Is it turned, or of another camera?"
                )
            whole = cv2.resize(self._region.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
            return np.asarray(whole, np.uint8).astype(bool)
        if not self.polygon:
            return None
        points = np.asarray(self.polygon, np.float64)
        if points.max() <= 1:
            points = points * [size[1], size[0]]
        drawn = np.zeros(size, np.uint8)
        cv2.fillPoly(drawn, [np.round(points).astype(np.int32)], 1)
        if not drawn.any() or (points < 0).any() or (points > np.array(size[::-1]) + 1).any():
            raise UserError(f"The polygon of roi= leaves a photo of {size[1]}x{size[0]} (width x height). Correct it.")
        return drawn.astype(bool)

    def boxes(self, size: tuple[int, int]) -> list[Box]:
        """The tiles of a photo of (height, width) that show a part of the region, row by row."""
        inside = self.inside(size)
        area = Box(0, 0, size[1], size[0]) if inside is None else bounding_box(inside)
        height, width = area.y1 - area.y0, area.x1 - area.x0
        side = math.ceil(max(height, width) / (self.tiles - (self.tiles - 1) * self.overlap))
        found = [
            Box(area.x0 + left, area.y0 + top, area.x0 + right, area.y0 + bottom)
            for top, bottom in _cuts(height, side, self.overlap)
            for left, right in _cuts(width, side, self.overlap)
        ]
        if inside is None:
            return found
        return [box for box in found if inside[box.y0 : box.y1, box.x0 : box.x1].any()]

    def cut(self, image: ImageArray, box: Box) -> ImageArray:
        """A tile of a photo, grey outside of the region."""
        tile = image[box.y0 : box.y1, box.x0 : box.x1]
        inside = self.inside((image.shape[0], image.shape[1]))
        if inside is None:
            return tile
        return np.where(inside[box.y0 : box.y1, box.x0 : box.x1, None], tile, np.uint8(GREY))

    def merge(self, maps: Iterator[tuple[Box, MapArray]], size: tuple[int, int]) -> MapArray:
        """One map of (height, width) from those of its tiles: where they overlap, one fades into the other."""
        total, weights = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for box, one in maps:
            weight = _fade(one.shape[0])[:, None] * _fade(one.shape[1])[None]
            total[box.y0 : box.y1, box.x0 : box.x1] += one * weight
            weights[box.y0 : box.y1, box.x0 : box.x1] += weight
        inside = self.inside(size)
        seen = weights > 0 if inside is None else inside & (weights > 0)
        np.divide(total, weights, out=total, where=seen)
        total[~seen] = total[seen].min()
        return total

    def save(self, folder: Path) -> None:
        """Writes it into the folder of an expert; an earlier one is removed."""
        for name in (FRAME, ROI):
            (folder / name).unlink(missing_ok=True)
        if not self:
            return
        make_dir(folder)
        if self._region is not None:
            (folder / ROI).write_bytes(cv2.imencode(".png", self._region.astype(np.uint8) * 255)[1].tobytes())
        write_json(folder / FRAME, {"tiles": self.tiles, "overlap": self.overlap, "polygon": self.polygon})


class Framed:
    """An expert that looks through a frame; see `models.experts.expert.Expert`."""

    sees_truth = False

    def __init__(self, expert: Fitted, frame: Frame) -> None:
        self.expert, self.frame, self.gates = expert, frame, expert.gates
        self.name = str(getattr(expert, "name", "expert"))

    def check(self, categories: Sequence[str]) -> None:
        """See `Expert.check`."""
        self.expert.check(categories)

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """See `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the photo's own size, and score of its worst tile."""
        return [self._score(category, image) for image in images]

    def _score(self, category: str, image: ImageArray) -> tuple[MapArray, float]:
        size = (image.shape[0], image.shape[1])
        boxes = self.frame.boxes(size)
        scores: list[float] = []

        def look() -> Iterator[tuple[Box, MapArray]]:
            for start in range(0, len(boxes), CHUNK):
                part = boxes[start : start + CHUNK]
                for box, (one, score) in zip(
                    part, self.expert.score(category, [self.frame.cut(image, box) for box in part]), strict=True
                ):
                    scores.append(score)
                    yield box, one

        return self.frame.merge(look(), size), max(scores)


def make_frame(roi: str, tiles: int, overlap: float) -> Frame:
    """A frame from what a command line says.

    Args:
        roi: Path of a mask image, or a polygon such as `100,80 900,80 900,700`; empty for none.
        tiles: See `Frame`.
        overlap: See `Frame`.

    Raises:
        UserError: If it is neither, or a value is out of range.
    """
    if not roi:
        return Frame(tiles=tiles, overlap=overlap)
    if Path(roi).is_file():
        return Frame(decode_mask(MaskFile(Path(roi), 127)), tiles=tiles, overlap=overlap)
    number = r"\d+(?:\.\d+)?"
    if not re.fullmatch(rf"\s*{number}\s*,\s*{number}(?:[\s;]+{number}\s*,\s*{number}){{2,}}\s*", roi):
        raise UserError(
            f"roi={roi} is neither the file of a mask nor a polygon of three points or more, such as "
            "roi='100,80 900,80 900,700 100,700' in pixels, or '0.1,0.1 0.9,0.1 0.5,0.9' as shares of the photo."
        )
    values = [float(value) for value in re.findall(number, roi)]
    return Frame(polygon=list(zip(values[::2], values[1::2], strict=True)), tiles=tiles, overlap=overlap)


def read_frame(folder: Path) -> Frame:
    """The frame of a fitted expert; one that changes nothing where it has none.

    Raises:
        UserError: If the file is malformed.
    """
    path = folder / FRAME
    if not path.is_file():
        return Frame()
    try:
        values: Mapping[str, Any] = read_json(path)
        region = decode_mask(MaskFile(folder / ROI, 127)) if (folder / ROI).is_file() else None
        polygon = [(float(x), float(y)) for x, y in values["polygon"]]
        return Frame(region, polygon, int(values["tiles"]), float(values["overlap"]))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"Not a frame: {path} ({error!r}). Fit the expert again.") from error


def list_views(samples: Sequence[Sample], frame: Frame, most: int, seed: int) -> Iterator[ImageArray]:
    """What an expert is fitted on: photos, or at most so many of their tiles, drawn evenly from all.

    Args:
        samples: Sound photos.
        frame: How they are looked at.
        most: Tiles at most.
        seed: Of the choice.
    """
    if not frame:
        yield from (load_image(sample.image) for sample in samples)
        return
    tiles = [(number, box) for number, sample in enumerate(samples) for box in frame.boxes(read_size(sample.image))]
    chosen = sorted(random.Random(seed).sample(range(len(tiles)), min(most, len(tiles))))
    held, image = -1, None
    for index in chosen:
        number, box = tiles[index]
        if image is None or number != held:
            held, image = number, load_image(samples[number].image)
        yield frame.cut(image, box)


def bounding_box(inside: MaskArray) -> Box:
    """The smallest box that holds a region."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _cuts(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Beginnings and ends of the tiles along one side, evenly spread, each of the wanted side."""
    if length <= side:
        return [(0, length)]
    count = math.ceil((length - side * overlap) / (side * (1 - overlap)) - 1e-9)
    starts = [round(index * (length - side) / (count - 1)) for index in range(count)]
    return [(start, start + side) for start in starts]


def _fade(length: int) -> NDArray[np.float32]:
    """Weights along a tile: highest in the middle, above zero at the ends."""
    place = np.arange(length, dtype=np.float32) + 0.5
    return np.minimum(place, length - place) / length
