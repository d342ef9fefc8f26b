"""Drawing without a renderer: posed coordinates, signed distances, smooth noise and light.

Colours and images are float32 RGB in 0..255. Signed distances are negative inside a shape. `u` points right and `v`
down, in half-image units, so an unposed square image spans -1..1 in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]  # (H, W) float32, any range
Pixels = NDArray[Any]  # (H, W, 3) float32, RGB, 0..255
Colour = NDArray[Any]  # (3,) float32, RGB, 0..255
Generator = np.random.Generator
T = TypeVar("T")


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
    """Posed coordinates of an image or of a window in it.

    Attributes:
        u: (h, w) right, before the rotation, in units.
        v: (h, w) down, before the rotation, in units.
        scale: Pixels per unit.
        angle: Rotation of the pose, radians.
        origin: Pixel (x, y) of u = v = 0.
    """

    u: Field
    v: Field
    scale: float
    angle: float
    origin: tuple[float, float]

    @property
    def size(self) -> int:
        """Height of the image or window, pixels."""
        return self.u.shape[0]

    def near(self, x: float, y: float, reach: float) -> tuple[tuple[slice, slice], Frame]:
        """The window of half-width `reach` around (x, y), all in units, with its own coordinates around there."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        column = self.origin[0] + (cos * x - sin * y) * self.scale
        row = self.origin[1] + (sin * x + cos * y) * self.scale
        half = reach * self.scale + 2
        rows = slice(max(0, int(row - half)), max(0, int(row + half)))
        columns = slice(max(0, int(column - half)), max(0, int(column + half)))
        u, v = self.u[rows, columns] - np.float32(x), self.v[rows, columns] - np.float32(y)
        return (rows, columns), Frame(u, v, self.scale, self.angle, (column - columns.start, row - rows.start))

    def cover(self, distance: Field) -> Field:
        """Anti-aliased coverage in 0..1 of a signed distance, both (h, w)."""
        return np.clip(np.float32(0.5) - distance * np.float32(self.scale), 0, 1)

    def slope(self, distance: Field, width: float, sun: float) -> Field:
        """Light on a rounded edge, (h, w) in about -1..1: positive where it faces the light, zero on the flat.

        Args:
            distance: Signed distance of the shape.
            width: Width of the rounded edge, in units.
            sun: Where the light comes from, radians in the image.
        """
        height = np.clip(distance.astype(np.float32, copy=False) / -width, 0, 1)
        height = height * (2 - height)
        gain = width * self.scale / 8
        along_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=-gain * float(np.cos(sun)))
        along_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=-gain * float(np.sin(sun)))
        return along_x + along_y


def make_frame(rng: Generator, size: int, *, turn: float = np.pi, shift: float = 0.04, scale: float = 1.0) -> Frame:
    """Coordinates under a random pose.

    Args:
        rng: Source of the pose.
        size: Height and width, pixels.
        turn: Largest rotation either way, radians.
        shift: Largest shift either way, units.
        scale: Size of one unit, in half-images; varied by 5 %.
    """
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    angle = rng.uniform(-turn, turn)
    dx, dy = rng.uniform(-shift, shift, 2).astype(np.float32)
    zoom = np.float32(scale * rng.uniform(0.95, 1.05))
    x, y = (axis - dx)[None, :] / zoom, (axis - dy)[:, None] / zoom
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    origin = float(dx + 1) * size / 2 - 0.5, float(dy + 1) * size / 2 - 0.5
    return Frame(cos * x + sin * y, cos * y - sin * x, float(zoom) * size / 2, angle, origin)


def wrap(field: Field, period: float = 1.0) -> Field:
    """`field` modulo `period`, in 0..period; far faster than `np.mod`."""
    return field - period * np.floor(field * (1 / period))


def pick(rng: Generator, choices: Sequence[T]) -> T:
    """One of the choices; faster than `Generator.choice`, and keeps its type."""
    return choices[int(rng.integers(len(choices)))]


def grain(rng: Generator, size: int, deviation: float) -> Field:
    """Independent noise per pixel, (size, size): the sum of two uniform ones, which is near enough and fast."""
    return (rng.random((size, size), np.float32) - rng.random((size, size), np.float32)) * (2.45 * deviation)


def length(u: Field, v: Field) -> Field:
    """Euclidean length; faster than `np.hypot`."""
    return np.sqrt(u * u + v * v)


def disc(u: Field, v: Field, radius: float) -> Field:
    """Signed distance to a disc around the origin."""
    return length(u, v) - np.float32(radius)


def box(u: Field, v: Field, half_width: float, half_height: float, corner: float = 0.0) -> Field:
    """Signed distance to a rounded rectangle around the origin."""
    x = np.abs(u) - np.float32(half_width - corner)
    y = np.abs(v) - np.float32(half_height - corner)
    return length(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - np.float32(corner)


def polygon(u: Field, v: Field, sides: int, radius: float) -> Field:
    """Signed distance (exact at the edges' middles) to a regular polygon with inner radius `radius`."""
    step = 2 * np.pi / sides
    edges = [u * np.float32(np.cos(k * step)) + v * np.float32(np.sin(k * step)) for k in range(sides)]
    return np.maximum.reduce(edges) - np.float32(radius)


def bar(u: Field, v: Field, half_length: float, radius: float) -> Field:
    """Signed distance to a bar with round ends along `u`."""
    return length(np.maximum(np.abs(u) - np.float32(half_length), 0), v) - np.float32(radius)


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


def colour(rng: Generator, choices: Sequence[Sequence[float]], spread: float = 10.0) -> Colour:
    """One of the RGB choices, each channel varied by up to `spread`."""
    base = np.asarray(pick(rng, choices), np.float32)
    return np.clip(base + rng.uniform(-spread, spread, 3).astype(np.float32), 0, 255)


def wide(field: Field) -> Pixels:
    """(H, W) repeated over the three channels: far faster to calculate with than broadcasting `[..., None]`."""
    return cv2.cvtColor(field.astype(np.float32, copy=False), cv2.COLOR_GRAY2RGB)


def flat(tint: Colour, shade: Field) -> Pixels:
    """A colour times a (H, W) brightness around 1: (H, W, 3)."""
    plane = shade.astype(np.float32, copy=False)
    return cv2.merge(tuple(plane * np.float32(channel) for channel in tint.tolist()))


def blend(under: Pixels, over: Pixels | Colour, cover: Field) -> Pixels:
    """Lays `over` on `under` with coverage in 0..1, (H, W)."""
    if over.ndim == 1:
        return under * wide(1 - cover) + flat(over, cover)
    return under + (over - under) * wide(cover)


def light(rng: Generator, size: int, strength: float = 0.13) -> Pixels:
    """A smooth random lighting gradient to multiply by, (size, size, 3)."""
    corners = rng.uniform(1 - strength, 1 + strength, (3, 3)).astype(np.float32)
    return wide(cv2.resize(corners, (size, size), interpolation=cv2.INTER_LINEAR))


def bench(rng: Generator, size: int) -> Pixels:
    """The bright, plain support that objects lie on."""
    mats = [(214, 214, 210), (196, 208, 218), (222, 212, 192), (202, 216, 200), (205, 200, 212)]
    return flat(colour(rng, mats, 8), 1 + noise(rng, size, 5) * np.float32(0.012))


def place_on_bench(rng: Generator, frame: Frame, image: Pixels, distance: Field) -> Surface:
    """Puts a drawn object, (H, W, 3) with its signed distance, on a bench with a soft shadow, and lights it."""
    size = image.shape[0]
    cover = frame.cover(distance).astype(np.float32, copy=False)
    reach = max(3, size // 42)
    fall = np.array([[1, 0, reach * 0.4], [0, 1, reach * 0.5]], np.float32)
    shadow = cv2.warpAffine(cv2.blur(cv2.blur(cover, (reach, reach)), (reach, reach)), fall, (size, size))
    lamp = light(rng, size)
    under = bench(rng, size) * lamp
    shaded = under * wide(1 - np.float32(0.38) * shadow)
    return Surface(blend(shaded, image * lamp, cover), cover > 0.5, under)


def fill_frame(rng: Generator, image: Pixels) -> Surface:
    """A texture that fills the image; a plain bright backing shows through where it is missing."""
    size = image.shape[0]
    lamp = light(rng, size)
    return Surface(image * lamp, np.ones((size, size), bool), bench(rng, size) * lamp)
