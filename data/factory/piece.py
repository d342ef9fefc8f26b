"""One finished image of the factory: a product, its defects, sometimes a decoy, and the camera's noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import REGIONS
from data.errors import UserError
from data.factory.canvas import Generator, Pixels, Surface, grain, pick, wide
from data.factory.catalog import Product
from data.factory.placement import PlacedMark, place_mark
from data.masks import Box
from data.sample import ImageArray

ATTEMPTS = 30  # fresh pieces drawn before giving up on a defect
EXTRA_SCALE = 0.7  # size of the second and third defect
FAR_PAIRS = [  # ordered pairs of cells that do not touch, not even at a corner: the center has no partner
    (REGIONS[a], REGIONS[b]) for a in range(9) for b in range(9) if max(abs(a // 3 - b // 3), abs(a % 3 - b % 3)) == 2
]


@dataclass(frozen=True, slots=True)
class Piece:
    """An image and what is wrong with it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        clean: (H, W, 3) uint8 RGB, the same piece without defects and decoys.
        marks: Defects, the main one first; their masks together are the mask.
        decoys: Harmless look-alikes, in no mask.
    """

    image: ImageArray
    clean: ImageArray
    marks: list[PlacedMark]
    decoys: list[Box]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, the union of the defects; all False on a normal piece."""
        return np.logical_or.reduce([np.zeros(self.image.shape[:2], bool), *(mark.mask for mark in self.marks)])


def make_normal(rng: Generator, product: Product, size: int) -> Piece:
    """A defect-free piece."""
    (image,) = _camera(rng, product.draw(rng, size).image)
    return Piece(image, image, [], [])


def make_anomalous(rng: Generator, product: Product, defect: str, size: int, *, extras: int, decoy: bool) -> Piece:
    """A piece with a defect, with smaller further defects, or with a decoy.

    Args:
        rng: Source of everything random.
        product: What to draw.
        defect: Type of the main (largest) defect.
        size: Height and width, pixels.
        extras: Number of further defects, of the same or another type.
        decoy: Whether a harmless mark by the same painter goes into another, non-adjacent cell. The two cells are
            drawn together and are exchangeable: pixels alone cannot tell which of the marks is the defect.
    """
    target, other = _cells(rng, decoy)
    for attempt in range(ATTEMPTS):
        if attempt >= ATTEMPTS // 2:  # a new pose may make room in the wanted cell; only then try another cell
            target, other = _cells(rng, decoy)
        surface = product.draw(rng, size)
        image = surface.image.copy()
        main = place_mark(rng, surface, image, defect, target, np.zeros_like(surface.foreground))
        if main is None:
            continue
        marks, decoys = [main], []
        if decoy:
            twin = place_mark(rng, surface, image, defect, other, _around(marks))
            if twin is None:
                continue
            decoys.append(twin.box)
        else:
            marks += _further(rng, product, surface, image, main, extras)
        clean, painted = _camera(rng, surface.image, image)
        return Piece(painted, clean, marks, decoys)
    raise UserError(f"No room for '{defect}' on this product: list it under `impossible` in data/factory/catalog.py.")


def _further(
    rng: Generator, product: Product, surface: Surface, image: Pixels, main: PlacedMark, count: int
) -> list[PlacedMark]:
    """Paints up to `count` smaller marks in cells of their own."""
    marks = [main]
    for _ in range(count):
        free = [region for region in REGIONS if region not in {mark.region for mark in marks}]
        kind = main.defect if rng.random() < 0.5 else pick(rng, product.defects)
        before = image.copy()
        region = pick(rng, free)
        mark = place_mark(rng, surface, image, kind, region, _around(marks), EXTRA_SCALE)
        if mark is not None and mark.mask.sum() < main.mask.sum():
            marks.append(mark)
        else:
            image[:] = before
    return marks[1:]


def _cells(rng: Generator, decoy: bool) -> tuple[str, str]:
    """A cell for the defect and one for its decoy (the same, unused, without)."""
    if decoy:
        return pick(rng, FAR_PAIRS)
    region = pick(rng, REGIONS)
    return region, region


def _around(marks: list[PlacedMark]) -> NDArray[np.bool_]:
    """The marks' pixels and a margin."""
    union = np.logical_or.reduce([mark.mask for mark in marks], axis=0)
    return cv2.dilate(union.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)


def _camera(rng: Generator, *images: Pixels) -> list[ImageArray]:
    """Adds one and the same sensor noise to images of the same shape, and quantises them."""
    level = wide(grain(rng, images[0].shape[0], rng.uniform(1.2, 3.2)) + np.float32(0.5))
    gains = np.array([*rng.uniform(0.97, 1.03, 3), 0.0])
    return [np.clip(cv2.multiply(image, gains) + level, 0, 255).astype(np.uint8) for image in images]
