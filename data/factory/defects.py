"""The defect types: one painter each, the same on every product, so that a type looks like itself everywhere.

A painter draws in a small window around the origin, in pixels, and returns a `Mark`: what happens to the surface there.
`unit` is 1 for a 256-pixel image and scales every length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.factory.canvas import Field, Generator, Pixels, blend, flat, length, noise, pick, wide


@dataclass(frozen=True, slots=True)
class Mark:
    """A change of a window: under `cover`, the surface (or its backing) times `gain` plus `offset`.

    Attributes:
        cover: (h, w) in 0..1, where the mark is.
        gain: (h, w) or (h, w, 3) factor.
        offset: (h, w) or (h, w, 3) added, in grey levels.
        shift: (h, w) pixels in x and in y to where each pixel is taken from; None keeps them in place.
        reveal: Whether the backing shows instead of the surface.
    """

    cover: Field
    gain: Field | Pixels | float = 1.0
    offset: Field | Pixels | float = 0.0
    shift: tuple[Field, Field] | None = None
    reveal: bool = False

    def apply(self, patch: Pixels, backing: Pixels) -> Pixels:
        """The changed window, (h, w, 3), from the surface and its backing there."""
        under = backing if self.reveal else patch
        if self.shift is not None:
            rows, columns = np.indices(self.cover.shape, np.float32)
            from_x = (columns + self.shift[0]).astype(np.float32, copy=False)
            from_y = (rows + self.shift[1]).astype(np.float32, copy=False)
            under = cv2.remap(under, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return blend(patch, np.clip(under * _three(self.gain) + _three(self.offset), 0, 255), self.cover)


def paint_scratch(rng: Generator, unit: float) -> Mark:
    """Straight, bright, near-parallel strokes in a faintly scuffed band."""
    span, width = rng.uniform(42, 88) * unit, rng.uniform(7, 15) * unit
    x, y = _window(rng, span / 2 + 2)
    y = y + x * x * np.float32(rng.uniform(-0.0015, 0.0015) / unit)
    cover = _inside(length(np.maximum(np.abs(x) - (span - width) / 2, 0), y) - width / 2)
    strokes = np.zeros_like(x)
    for at in (np.linspace(-0.32, 0.32, int(rng.integers(2, 5))) * width).tolist():
        start, end = rng.uniform(-0.5, -0.3) * span, rng.uniform(0.3, 0.5) * span
        tilt, thick = rng.uniform(-0.03, 0.03), rng.uniform(1.1, 1.8) * unit
        line = np.exp(-(((y - at - tilt * x) / thick) ** 2)) * _inside(start - x) * _inside(x - end)
        strokes = np.maximum(strokes, line * rng.uniform(0.7, 1))
    strength = rng.uniform(0.55, 1)
    return Mark(cover, 0.97 - 0.85 * strength * strokes, strength * (210 * strokes + 24))


def paint_crack(rng: Generator, unit: float) -> Mark:
    """A dark, jagged, branching line."""
    span, thick = rng.uniform(46, 92) * unit, rng.uniform(1.8, 3.6) * unit
    side = int(span * 1.15) | 1
    heading, joints = rng.uniform(0, 2 * np.pi), int(rng.integers(6, 10))
    main = _walk(rng, np.zeros(2), heading, span, joints, 0.55)
    main -= (main.max(0) + main.min(0)) / 2
    paths = [(main, thick)]
    for _ in range(int(rng.integers(1, 4))):
        root = main[int(rng.integers(2, joints - 1))]
        branch = heading + pick(rng, (-1, 1)) * rng.uniform(0.6, 1.2)
        paths.append((_walk(rng, root, branch, span * rng.uniform(0.18, 0.36), 4, 0.5), thick * 0.75))
    core, halo = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    for path, width in paths:
        points = [np.round((path + side / 2) * 16).astype(np.int32)]
        cv2.polylines(core, points, False, 255, max(1, round(width)), cv2.LINE_AA, 4)
        cv2.polylines(halo, points, False, 255, max(1, round(width)) + 2, cv2.LINE_AA, 4)
    dark = _unit_range(core)
    strength = rng.uniform(0.7, 1)
    return Mark(_unit_range(halo), 0.82 - 0.8 * strength * dark, dark * 6)


def paint_hole(rng: Generator, unit: float) -> Mark:
    """A nearly black round opening with a lit rim."""
    radius = rng.uniform(10, 23) * unit
    x, y = _window(rng, radius * 1.25 + 3)
    edge = _blob(rng, x * np.float32(rng.uniform(1, 1.2)), y, radius, 0.03, 4)
    rim = _inside(np.abs(edge) - 1.6 * unit)
    facing = (x + y) * np.float32(0.7 / radius)
    inner = rng.uniform(8, 26) + 14 * np.clip(facing, 0, 1)
    offset = inner * (1 - rim) + rim * (70 + 130 * np.clip(facing, -0.4, 1))
    return Mark(_inside(edge - 1.6 * unit), 0.0, offset)


def paint_stain(rng: Generator, unit: float) -> Mark:
    """A translucent coloured blot with a darker rim; the surface still shows through."""
    radius = rng.uniform(15, 30) * unit
    x, y = _window(rng, radius * 1.6)
    edge = _blob(rng, x * np.float32(rng.uniform(0.85, 1.2)), y, radius, 0.13, 5)
    tints = [(0.72, 0.5, 0.24), (0.5, 0.42, 0.2), (0.35, 0.5, 0.85), (0.4, 0.72, 0.42), (0.72, 0.38, 0.62)]
    tint = np.array(pick(rng, tints)) + rng.uniform(-0.06, 0.06, 3)
    rim = np.exp(-(((edge + 2.5 * unit) / (2.2 * unit)) ** 2))
    depth = rng.uniform(0.55, 0.95) * (0.85 + 0.1 * noise(rng, x.shape[0], 4) + 0.3 * rim)
    return Mark(_inside(edge), 1 - flat(1 - tint, depth))


def paint_dent(rng: Generator, unit: float) -> Mark:
    """A smooth round hollow: dark on the side of the light, bright opposite, the pattern pinched."""
    radius, squeeze = rng.uniform(14, 27) * unit, rng.uniform(1, 1.3)
    x, y = _window(rng, radius + 2)
    reach = length(x, y * np.float32(squeeze)) / np.float32(radius)
    bowl = np.clip(1 - reach**4, 0, 1)
    turn = rng.uniform(-0.5, 0.5)
    tilt = (x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn))) / np.float32(radius)
    shade = rng.uniform(95, 150) * tilt * bowl
    return Mark(_inside((reach - 1) * radius), 0.92, shade, shift=(0.35 * bowl * x, 0.35 * bowl * y))


def paint_missing_part(rng: Generator, unit: float) -> Mark:
    """An angular piece broken out: the bright backing shows, with a dark broken edge."""
    radius = rng.uniform(14, 30) * unit
    side = int(radius * 2.3) + 4 | 1
    corners = int(rng.integers(4, 7))
    angles = (np.arange(corners) + rng.uniform(-0.28, 0.28, corners)) / corners * 2 * np.pi + rng.uniform(0, 7)
    reach = radius * rng.uniform(0.72, 1.1, corners)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None] + side / 2
    fill = np.zeros((side, side), np.uint8)
    cv2.fillPoly(fill, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    cover = _unit_range(fill)
    wall = np.clip((1 - cv2.GaussianBlur(cover, (0, 0), max(0.8, 2.2 * unit))) * 2.2, 0, 1) ** 1.5
    return Mark(cover, 1 - 0.85 * wall, reveal=True)


def paint_bend(rng: Generator, unit: float) -> Mark:
    """Parallel soft ripples, bright and dark, that displace the pattern: a buckled strip."""
    span, width = rng.uniform(44, 74) * unit, rng.uniform(26, 42) * unit
    x, y = _window(rng, float(np.hypot(span, width)) / 2 + 2)
    edge = length(np.maximum(np.abs(x) - (span - width) / 2, 0), y) - width / 2
    fade = np.clip(-edge / (4 * unit), 0, 1)
    waves = pick(rng, (2.0, 3.0))
    phase = y * np.float32(2 * np.pi * waves / width) + np.float32(rng.uniform(-0.4, 0.4))
    shade = rng.uniform(42, 70) * np.sin(phase) * (0.35 + 0.65 * fade)
    move, turn = rng.uniform(4, 7) * unit * np.cos(phase) * fade, rng.uniform(0, 2 * np.pi)
    return Mark(_inside(edge), 1.0, shade, shift=(move * float(np.cos(turn)), move * float(np.sin(turn))))


def paint_foreign_object(rng: Generator, unit: float) -> Mark:
    """A solid, brightly coloured thing lying on top, with a gloss and a thin shadow."""
    size = rng.uniform(11, 20) * unit
    x, y = _window(rng, size * 1.5 + 4)
    shape = int(rng.integers(4))
    if shape == 0:
        edge = length(np.maximum(np.abs(x) - size * 0.8, 0), y) - size * 0.42
    elif shape == 1:
        edge = np.abs(length(x, y) - size * 0.72) - size * 0.3
    elif shape == 2:
        edge = np.maximum(np.abs(x) - size * 0.95, np.abs(y) - size * 0.6)
    else:
        edge = np.maximum(y - size * 0.5, np.abs(x) * 0.87 - y * 0.5 - size * 0.5)
    vivid = [
        (225, 35, 35),
        (30, 80, 230),
        (20, 170, 60),
        (250, 205, 20),
        (225, 40, 190),
        (20, 190, 215),
        (245, 120, 15),
    ]
    tint = np.array(pick(rng, vivid)) * rng.uniform(0.85, 1.05)
    body = _inside(edge)
    gloss = np.clip(-edge / (5 * unit), 0, 1)
    shine = np.exp(-(((x + size * 0.25) ** 2 + (y + size * 0.3) ** 2) / (size * 0.3) ** 2))
    paint = flat(tint, (0.62 + 0.4 * gloss) * body) + wide(70 * shine * gloss * body)
    return Mark(_inside(edge - 1.5 * unit), 0.45 * (1 - body), paint)


def paint_contamination(rng: Generator, unit: float) -> Mark:
    """Pale powder: many small grains over a thin haze."""
    radius = rng.uniform(15, 28) * unit
    x, y = _window(rng, radius * 1.4)
    side = x.shape[0]
    edge = _blob(rng, x, y, radius, 0.1, 5)
    grains = np.zeros((side, side), np.uint8)
    count = int(rng.integers(34, 60))
    spots = rng.standard_normal((count, 2)) * radius * 0.48 + side / 2
    sizes = rng.uniform(1.2, 2.6, count) * unit
    for (column, row), size in zip(np.round(spots * 16).astype(int).tolist(), sizes.tolist(), strict=True):
        cv2.circle(grains, (column, row), round(size * 16), 255, -1, cv2.LINE_AA, 4)
    tints = [(250, 248, 240), (240, 226, 170), (222, 240, 205)]
    haze = rng.uniform(0.14, 0.24) + 0.75 * _unit_range(grains)
    return Mark(_inside(edge), 1 - haze, flat(np.array(pick(rng, tints)), haze))


PAINTERS: dict[str, Callable[[Generator, float], Mark]] = {
    "scratch": paint_scratch,
    "crack": paint_crack,
    "hole": paint_hole,
    "stain": paint_stain,
    "dent": paint_dent,
    "missing part": paint_missing_part,
    "bend": paint_bend,
    "foreign object": paint_foreign_object,
    "contamination": paint_contamination,
}


def _window(rng: Generator, reach: float) -> tuple[Field, Field]:
    """Pixel coordinates around the origin, turned at random, in a window of half-width `reach`."""
    half = int(np.ceil(reach))
    axis = np.arange(-half, half + 1, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * axis[None, :] + sin * axis[:, None], cos * axis[:, None] - sin * axis[None, :]


def _inside(distance: Field) -> Field:
    """Anti-aliased coverage of a signed distance in pixels."""
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def _blob(rng: Generator, x: Field, y: Field, radius: float, roughness: float, harmonics: int) -> Field:
    """Signed distance (about) to a round shape with an uneven outline."""
    theta = np.arctan2(y, x)
    outline = np.ones_like(x)
    for k in range(2, 2 + harmonics):
        outline += np.float32(rng.normal(0, roughness / k**0.5)) * np.cos(k * theta + np.float32(rng.uniform(0, 7)))
    return length(x, y) - np.float32(radius) * np.clip(outline, 0.55, 1.45)


def _walk(
    rng: Generator, start: NDArray[np.float64], heading: float, span: float, steps: int, wander: float
) -> NDArray[np.float64]:
    """A jagged path, (steps + 1, 2) as (x, y)."""
    turns = heading + rng.normal(0, wander, steps)
    moves = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (span / steps)
    return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def _unit_range(drawing: NDArray[np.uint8]) -> Field:
    """0..255 to 0..1."""
    return drawing.astype(np.float32) * np.float32(1 / 255)


def _three(value: Field | Pixels | float) -> Pixels | float:
    """Repeats a (h, w) field over the channels; passes everything else through."""
    return wide(value) if isinstance(value, np.ndarray) and value.ndim == 2 else value
