"""Generic scenes: endless random surfaces with marks on them, to pre-train tiny models before they see any product.

A scene is no product of the factory: its backgrounds are stripes, checks, noise and tiles, its silhouettes random
blobs, discs, rings, plates and cogs. Only the defect painters are shared, so what a scratch looks like is learnt here,
and what a washer looks like is not. A scene exposes words, never sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from data.ddqa.regions import REGIONS
from data.factory.canvas import (
    Colour,
    Field,
    Frame,
    Generator,
    Pixels,
    Surface,
    bar,
    blend,
    box,
    disc,
    flat,
    grain,
    length,
    light,
    make_frame,
    noise,
    pick,
    polygon,
    wide,
    wrap,
)
from data.factory.clutter import add_clutter
from data.factory.defects import PAINTERS
from data.factory.placement import PlacedMark, place_mark
from data.sample import ImageArray
from data.tiny.wild import photograph, photographed, relight

CLEAN_SHARE = 0.4  # scenes without a mark
COUNT_SHARES = (0.6, 0.27, 0.13)  # one, two, three marks, of the others
SILHOUETTE_SHARE = 0.7  # scenes that show an object on a background

COLOURS: dict[str, tuple[int, int, int]] = {
    "grey": (132, 134, 138),
    "brown": (138, 96, 66),
    "red": (158, 84, 78),
    "orange": (178, 124, 72),
    "yellow": (172, 158, 86),
    "green": (88, 134, 94),
    "teal": (84, 136, 136),
    "blue": (84, 112, 158),
    "purple": (126, 98, 148),
    "pink": (168, 124, 142),
    "beige": (176, 164, 142),
    "dark": (88, 90, 96),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        marks: What was painted, as (defect, mask, box, region); empty when the scene is clean.
        colour: Main colour of the surface, one word.
        pattern: Its pattern, one word.
        shape: Its silhouette, one word; None when the surface fills the image.
    """

    image: ImageArray
    marks: list[PlacedMark]
    colour: str
    pattern: str
    shape: str | None


def make_scene(
    rng: Generator, size: int = 128, *, marks: int | None = None, clutter: float = 0.0, wild: float = 0.0
) -> Scene:
    """Draws one random scene, drawn directly at `size`.

    Args:
        rng: Source of everything random.
        size: Height and width, pixels.
        marks: How many marks to try to paint, at most nine; None draws the number.
        clutter: Probability of harmless detail beyond the usual (`data.factory.clutter`).
        wild: Probability that the scene looks like a photograph (`data.tiny.wild`) and its marks are of any size.
    """
    is_wild = bool(wild) and rng.random() < wild
    name = pick(rng, list(COLOURS))
    pattern = pick(rng, DRAWN)
    tint = np.asarray(COLOURS[name], np.float32) * np.float32(rng.uniform(0.85, 1.15))
    tint += rng.uniform(-12, 12, 3).astype(np.float32)
    frame = make_frame(rng, size, shift=0.12, scale=rng.uniform(0.85, 1.1))
    if is_wild and rng.random() < 0.25:
        pattern = ROUGH
    image = photographed(rng, frame, tint) if pattern == ROUGH else PATTERNS[pattern](rng, frame, tint)
    shape = pick(rng, list(SHAPES)) if rng.random() < SILHOUETTE_SHARE else None
    backing = _backing(rng, frame) if is_wild else _plain(rng, size)
    foreground = np.ones((size, size), bool)
    if shape is not None:
        edge = SHAPES[shape](rng, frame)
        if rng.random() < 0.6:
            image = image * wide(1 + rng.uniform(0.15, 0.35) * frame.slope(edge, 0.07, _angle(rng)))
        image = _parts(rng, frame, image)
        image = add_clutter(rng, frame, image, edge) if clutter and rng.random() < clutter else image
        cover = frame.cover(edge)
        foreground = cover > 0.5
        shade = cv2.GaussianBlur(cover, (0, 0), size / 32) * np.float32(rng.uniform(0, 0.35))
        image = blend(backing * wide(1 - shade), image, cover)
    elif rng.random() < 0.4:
        image = _parts(rng, frame, image)
        image = add_clutter(rng, frame, image) if clutter and rng.random() < clutter else image
    glow = light(rng, size, 0.17)
    surface = Surface(image * glow, foreground, backing * glow)
    painted = surface.image.copy()
    spread = (0.6, 1.6) if is_wild else (0.8, 1.15)
    placed = _paint_marks(rng, surface, painted, marks, spread)
    if not is_wild:
        return Scene(_camera(rng, painted), placed, name, pattern, shape)
    lit, is_grey = relight(rng, painted)
    return Scene(photograph(rng, lit), placed, "grey" if is_grey else name, pattern, shape)


def _paint_marks(
    rng: Generator, surface: Surface, image: Pixels, wanted: int | None, spread: tuple[float, float]
) -> list[PlacedMark]:
    if wanted == 0 or (wanted is None and rng.random() < CLEAN_SHARE):
        return []
    marks: list[PlacedMark] = []
    taken = np.zeros_like(surface.foreground)
    # A notch in an outline is the hardest mark to see, and needs an outline.
    kinds = list(PAINTERS) if surface.foreground.all() else [*PAINTERS, "missing part"]
    count = 1 + int(rng.choice(3, p=COUNT_SHARES)) if wanted is None else wanted
    for region in rng.permutation(REGIONS).tolist():
        same = wanted is None and marks and rng.random() < 0.4
        defect = marks[0].defect if same else pick(rng, kinds)
        mark = place_mark(rng, surface, image, defect, region, taken, float(rng.uniform(*spread)))
        if mark is not None:
            marks.append(mark)
            taken |= cv2.dilate(mark.mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
        if len(marks) == count:
            break
    return marks


def _smooth(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    return _tinted(tint, 0.05 * noise(rng, frame.size, 4))


def _cloudy(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    cells = int(rng.integers(5, 14))
    return _tinted(tint, 0.09 * noise(rng, frame.size, cells) + 0.05 * noise(rng, frame.size, 3 * cells))


def _grainy(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    cells = int(rng.integers(frame.size // 5, frame.size // 2))
    return _tinted(tint, np.float32(rng.uniform(0.04, 0.11)) * noise(rng, frame.size, cells))


def _brushed(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    cells = (int(rng.integers(24, 100)), int(rng.integers(1, 4)))
    field = noise(rng, frame.size, cells if rng.random() < 0.5 else cells[::-1])
    return _tinted(tint, 0.06 * field + 0.03 * noise(rng, frame.size, 3))


def _striped(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    wave = frame.u * np.float32(rng.uniform(8, 60)) + np.float32(rng.uniform(0, 1.5)) * noise(rng, frame.size, 3)
    return _tinted(tint, np.float32(rng.uniform(0.06, 0.2)) * np.tanh(np.float32(rng.uniform(0.7, 4)) * np.sin(wave)))


def _checked(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    count, hard = np.float32(rng.uniform(8, 50)), np.float32(rng.uniform(0.7, 5))
    field = np.tanh(hard * np.sin(frame.u * count) * np.sin(frame.v * count))
    return _tinted(tint, np.float32(rng.uniform(0.07, 0.22)) * field)


def _woven(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    count = np.float32(rng.uniform(9, 24))
    u, v = frame.u * count, frame.v * count
    over = wrap(np.floor(u) + np.floor(v), 2) > 0.5
    bump = np.where(over, np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v)))
    return _tinted(tint, np.float32(rng.uniform(0.2, 0.5)) * (bump - np.float32(0.6)))


def _tiled(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    pitch = rng.uniform(0.2, 0.8)
    row = np.floor(frame.v / pitch)
    u = wrap(frame.u / pitch + pick(rng, (0.0, 0.5)) * wrap(row, 2), 1)
    v = frame.v / pitch - row
    gap = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    joint = np.clip(1.5 - gap * (pitch * frame.scale * rng.uniform(0.3, 0.8)), 0, 1)
    return _tinted(tint, 0.04 * noise(rng, frame.size, 9) - np.float32(rng.uniform(0.15, 0.35)) * joint)


def _ringed(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    radius, theta = length(frame.u, frame.v), np.arctan2(frame.v, frame.u)
    rings = np.sin(radius * np.float32(rng.uniform(15, 90))) * np.float32(rng.uniform(0.02, 0.12))
    return _tinted(tint, rings + 0.1 * np.cos(2 * theta + np.float32(rng.uniform(0, 6))))


def _pebbled(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    field = np.abs(noise(rng, frame.size, int(rng.integers(12, 32))))
    return _tinted(tint, np.float32(rng.uniform(0.12, 0.28)) * (np.sqrt(field) - np.float32(0.8)))


def _dotted(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    pitch = rng.uniform(0.1, 0.25)
    u, v = wrap(frame.u, pitch) - pitch / 2, wrap(frame.v, pitch) - pitch / 2
    spot = frame.cover(box(u, v, pitch * 0.25, pitch * 0.25, pitch * pick(rng, (0.03, 0.24))))
    return blend(_tinted(tint, 0.03 * noise(rng, frame.size, 8)), tint * np.float32(rng.uniform(1.2, 1.6)), spot)


def _veined(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    field = noise(rng, frame.size, 4) + np.float32(0.5) * noise(rng, frame.size, 9)
    return _tinted(tint, np.float32(rng.uniform(0.05, 0.12)) * np.sin(np.float32(rng.uniform(3, 7)) * field))


PATTERNS: dict[str, Callable[[Generator, Frame, Colour], Pixels]] = {
    "smooth": _smooth,
    "cloudy": _cloudy,
    "grainy": _grainy,
    "brushed": _brushed,
    "striped": _striped,
    "checked": _checked,
    "woven": _woven,
    "tiled": _tiled,
    "ringed": _ringed,
    "pebbled": _pebbled,
    "dotted": _dotted,
    "veined": _veined,
    "rough": photographed,
}
ROUGH = "rough"  # only in wild scenes
DRAWN = [name for name in PATTERNS if name != ROUGH]


def _blob(rng: Generator, frame: Frame) -> Field:
    theta = np.arctan2(frame.v, frame.u)
    outline = np.full_like(theta, rng.uniform(0.75, 0.95))
    for k in range(2, 6):
        outline += np.float32(rng.normal(0, 0.07)) * np.cos(k * theta + np.float32(_angle(rng)))
    return length(frame.u, frame.v) - outline


def _disc(rng: Generator, frame: Frame) -> Field:
    return disc(frame.u, frame.v * np.float32(rng.uniform(1, 1.3)), rng.uniform(0.8, 0.97))


def _ring(rng: Generator, frame: Frame) -> Field:
    return np.maximum(disc(frame.u, frame.v, rng.uniform(0.85, 0.97)), -disc(frame.u, frame.v, rng.uniform(0.15, 0.4)))


def _plate(rng: Generator, frame: Frame) -> Field:
    edge = box(frame.u, frame.v, rng.uniform(0.7, 0.95), rng.uniform(0.6, 0.95), rng.uniform(0.02, 0.4))
    x, y = rng.uniform(0.25, 0.42, 2).astype(np.float32)
    hole = disc(np.abs(frame.u) - x, np.abs(frame.v) - y, rng.uniform(0.05, 0.11))
    return np.maximum(edge, -hole) if rng.random() < 0.6 else edge


def _cog(rng: Generator, frame: Frame) -> Field:
    theta, hard = np.arctan2(frame.v, frame.u), np.float32(rng.uniform(0.8, 3))
    teeth = np.clip(hard * np.sin(theta * int(rng.integers(5, 26))), -1, 1) * np.float32(rng.uniform(0.03, 0.1))
    edge = disc(frame.u, frame.v, rng.uniform(0.75, 0.88)) - teeth
    return np.maximum(edge, -disc(frame.u, frame.v, rng.uniform(0.1, 0.35))) if rng.random() < 0.6 else edge


def _polygon(rng: Generator, frame: Frame) -> Field:
    edge = polygon(frame.u, frame.v, int(rng.integers(3, 9)), rng.uniform(0.65, 0.85))
    return np.maximum(edge, -disc(frame.u, frame.v, rng.uniform(0.15, 0.4))) if rng.random() < 0.4 else edge


def _rod(rng: Generator, frame: Frame) -> Field:
    return bar(frame.u, frame.v, rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.65))


SHAPES: dict[str, Callable[[Generator, Frame], Field]] = {
    "blob": _blob,
    "disc": _disc,
    "ring": _ring,
    "plate": _plate,
    "cog": _cog,
    "polygon": _polygon,
    "rod": _rod,
}


def _tinted(tint: Colour, change: Field) -> Pixels:
    return flat(tint, 1 + change)


def _plain(rng: Generator, size: int) -> Pixels:
    """A plain bright background, of any tint."""
    tint = rng.uniform(185, 228) + rng.uniform(-18, 18, 3)
    return _tinted(tint, np.float32(0.02) * noise(rng, size, 4))


def _backing(rng: Generator, frame: Frame) -> Pixels:
    """A background of any brightness, plain or with a pattern of its own."""
    tint = (rng.uniform(15, 235) + rng.uniform(-18, 18, 3)).clip(5, 250).astype(np.float32)
    if rng.random() < 0.3:
        return PATTERNS[pick(rng, list(PATTERNS))](rng, frame, tint)
    return _tinted(tint, np.float32(rng.uniform(0.01, 0.06)) * noise(rng, frame.size, int(rng.integers(3, 20))))


def _parts(rng: Generator, frame: Frame, image: Pixels) -> Pixels:
    """Harmless details of the surface: raised or sunk discs, rings, bars and plates, in shades of it."""
    for _ in range(int(rng.integers(0, 4))):
        u, v = frame.u - np.float32(rng.uniform(-0.6, 0.6)), frame.v - np.float32(rng.uniform(-0.6, 0.6))
        kind, reach = int(rng.integers(4)), rng.uniform(0.12, 0.45)
        if kind == 0:
            edge = disc(u, v, reach)
        elif kind == 1:
            edge = np.abs(disc(u, v, reach)) - np.float32(reach * 0.25)
        elif kind == 2:
            edge = bar(u, v, reach, rng.uniform(0.02, 0.1))
        else:
            edge = box(u, v, reach, reach * rng.uniform(0.3, 1), 0.03)
        tint = np.array(cv2.mean(image)[:3]) * rng.uniform(0.72, 1.3) + rng.uniform(-18, 18, 3)
        image = blend(image, tint, frame.cover(edge) * np.float32(rng.uniform(0.4, 1)))
        image = image * wide(1 + rng.uniform(-0.3, 0.3) * frame.slope(edge, 0.04, _angle(rng)))
    return image


def _camera(rng: Generator, image: Pixels) -> ImageArray:
    level = wide(grain(rng, image.shape[0], rng.uniform(0.5, 4)) + np.float32(0.5))
    return np.clip(image + level, 0, 255).astype(np.uint8)


def _angle(rng: Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))
