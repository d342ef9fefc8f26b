"""Drawing without a renderer: posed coordinates, signed distances, smooth noise and light.

Colours and images are float32 RGB in 0..255. Signed distances are negative inside a shape. `u` points right and `v`
down, in half-image units, so an unposed square image spans -1..1 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # (H, W), any range
Pixels = NDArray[np.float32]  # (H, W, 3) RGB, 0..255
Colour = NDArray[np.float32]  # (3,) RGB, 0..255
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Surface:
    """What a product function draws, before defects and sensor noise.

    Attributes:
        image: (H, W, 3) the product on its background.
        foreground: (H, W) bool, where the product is; defects stay on it.
        backing: (H, W, 3) what shows where a part of the product is missing.
    """

    image: Pixels
    foreground: NDArray[np.bool_]
    backing: Pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """Posed coordinates of one square image: `u`, `v` are (H, W), `scale` is pixels per unit."""

    size: int
    u: Field
    v: Field
    scale: float

    def cover(self, distance: Field) -> Field:
        """Anti-aliased coverage in 0..1 of a signed distance, both (H, W)."""
        return np.clip(0.5 - distance * self.scale, 0, 1)

    def slope(self, distance: Field, width: float, angle: float) -> Field:
        """Light on a rounded edge, (H, W) in about -1..1: positive where it faces `angle`, zero on the flat.

        Args:
            distance: Signed distance of the shape.
            width: Width of the rounded edge, in units.
            angle: Where the light comes from, radians in the image.
        """
        height = np.clip(distance.astype(np.float32, copy=False) / -width, 0, 1)
        height = height * (2 - height)
        span = width * self.scale
        along_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=span / 8)
        along_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=span / 8)
        return -(along_x * np.float32(np.cos(angle)) + along_y * np.float32(np.sin(angle)))


def make_frame(rng: Generator, size: int, *, turn: float = np.pi, shift: float = 0.04, scale: float = 1.0) -> Frame:
    """Coordinates under a random pose.

    Args:
        rng: Source of the pose.
        size: Height and width, pixels.
        turn: Largest rotation either way, radians.
        shift: Largest shift either way, units.
        scale: Half-width of the image in units after scaling; varied by 5 %.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    angle = np.float32(rng.uniform(-turn, turn))
    dx, dy = rng.uniform(-shift, shift, 2).astype(np.float32)
    zoom = np.float32(scale * rng.uniform(0.95, 1.05))
    x, y = (axis - dx)[None, :] / zoom, (axis - dy)[:, None] / zoom
    cos, sin = np.cos(angle), np.sin(angle)
    return Frame(size, cos * x + sin * y, cos * y - sin * x, float(zoom) * size / 2)


def disc(u: Field, v: Field, radius: float) -> Field:
    """Signed distance to a disc around the origin."""
    return np.hypot(u, v) - np.float32(radius)


def box(u: Field, v: Field, half_width: float, half_height: float, corner: float = 0.0) -> Field:
    """Signed distance to a rounded rectangle around the origin."""
    x = np.abs(u) - np.float32(half_width - corner)
    y = np.abs(v) - np.float32(half_height - corner)
    return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - np.float32(corner)


def polygon(u: Field, v: Field, sides: int, radius: float) -> Field:
    """Signed distance (exact at the edges' middles) to a regular polygon with inner radius `radius`."""
    step = 2 * np.pi / sides
    edges = [u * np.float32(np.cos(k * step)) + v * np.float32(np.sin(k * step)) for k in range(sides)]
    return np.maximum.reduce(edges) - np.float32(radius)


def bar(u: Field, v: Field, half_length: float, radius: float) -> Field:
    """Signed distance to a bar with round ends along `u`."""
    return np.hypot(np.maximum(np.abs(u) - np.float32(half_length), 0), v) - np.float32(radius)


def noise(rng: Generator, size: int, cells: int | tuple[int, int]) -> Field:
    """Smooth noise, (size, size), mean 0 and deviation about 1, with `cells` (rows, columns) bumps across."""
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    grid = rng.standard_normal((min(rows, size), min(columns, size)), dtype=np.float32)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def fractal(rng: Generator, size: int, cells: int, octaves: int = 4) -> Field:
    """Smooth noise summed over octaves, (size, size), deviation about 1."""
    total = sum(noise(rng, size, min(cells * 2**k, size)) * np.float32(0.6**k) for k in range(octaves))
    return np.asarray(total, np.float32) * np.float32(0.75)


def distance_to_dots(dots: NDArray[np.int64], size: int) -> Field:
    """Distance in pixels, (size, size), to the nearest of the dots, (N, 2) as (row, column)."""
    canvas = np.full((size, size), 255, np.uint8)
    canvas[dots[:, 0], dots[:, 1]] = 0
    return cv2.distanceTransform(canvas, cv2.DIST_L2, 3)


def colour(rng: Generator, choices: Sequence[Sequence[int]], spread: float = 10.0) -> Colour:
    """One of the RGB choices, each channel varied by up to `spread`."""
    base = np.asarray(choices[int(rng.integers(len(choices)))], np.float32)
    return np.clip(base + rng.uniform(-spread, spread, 3).astype(np.float32), 0, 255)


def flat(tint: Colour, shade: Field) -> Pixels:
    """A colour times a (H, W) brightness around 1: (H, W, 3)."""
    return shade.astype(np.float32, copy=False)[..., None] * tint


def blend(under: Pixels, over: Pixels | Colour, cover: Field) -> Pixels:
    """Lays `over` on `under` with coverage in 0..1, (H, W)."""
    return under + (over - under) * cover.astype(np.float32, copy=False)[..., None]


def light(rng: Generator, image: Pixels, strength: float = 0.13) -> Pixels:
    """Multiplies by a smooth random lighting gradient and an exposure."""
    size = image.shape[0]
    corners = rng.uniform(1 - strength, 1 + strength, (3, 3)).astype(np.float32)
    return image * cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR)[..., None]


def bench(rng: Generator, size: int) -> Pixels:
    """The bright, plain support that objects lie on."""
    mats = [(214, 214, 210), (196, 208, 218), (222, 212, 192), (202, 216, 200), (205, 200, 212)]
    return flat(colour(rng, mats, 8), 1 + noise(rng, size, 5) * np.float32(0.012))


def place_on_bench(rng: Generator, frame: Frame, image: Pixels, distance: Field) -> Surface:
    """Puts a drawn object, (H, W, 3) with its signed distance, on a bench with a soft shadow, and lights it."""
    under = bench(rng, frame.size)
    cover = frame.cover(distance)
    reach = max(3, frame.size // 42) | 1
    fall = np.float32([[1, 0, reach * 0.4], [0, 1, reach * 0.5]])
    shadow = cv2.warpAffine(cv2.GaussianBlur(cover, (2 * reach + 1, 2 * reach + 1), 0), fall, (frame.size, frame.size))
    under = under * (1 - 0.38 * shadow)[..., None]
    lit = light(rng, np.concatenate([blend(under, image, cover), under], axis=2).reshape(frame.size, frame.size, 6))
    return Surface(np.ascontiguousarray(lit[..., :3]), cover > 0.5, np.ascontiguousarray(lit[..., 3:]))


def fill_frame(rng: Generator, image: Pixels) -> Surface:
    """A texture that fills the image; a plain bright backing shows through where it is missing."""
    size = image.shape[0]
    lit = light(rng, image)
    return Surface(lit, np.ones((size, size), bool), bench(rng, size))
