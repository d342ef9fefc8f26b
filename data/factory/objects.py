"""Products that lie on a bench and fill most of the frame: turned, moulded and assembled parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
    colour,
    disc,
    flat,
    fractal,
    length,
    make_frame,
    noise,
    place_on_bench,
    polygon,
    wide,
)

Layer = tuple[Pixels | Colour, Field]  # what is laid, and its signed distance

STEEL = [(134, 138, 144), (146, 142, 134), (120, 126, 134)]
BRASS = [(176, 142, 78), (168, 128, 70)]
PLASTIC = [(86, 118, 160), (158, 92, 84), (96, 142, 108), (150, 134, 92), (132, 108, 146), (112, 116, 122)]


def draw_washer(rng: Generator, size: int) -> Surface:
    """A flat steel ring with turning marks."""
    frame = make_frame(rng, size)
    outer, inner = 0.94, rng.uniform(0.26, 0.36)
    edge = np.maximum(disc(frame.u, frame.v, outer), -disc(frame.u, frame.v, inner))
    image = flat(colour(rng, STEEL + BRASS), _turned(rng, frame) + 0.3 * frame.slope(edge, 0.06, _sun(rng)))
    return place_on_bench(rng, frame, image, edge)


def draw_gear(rng: Generator, size: int) -> Surface:
    """A spur gear with a bore, a hub and a web."""
    frame = make_frame(rng, size)
    teeth, sun = int(rng.integers(16, 25)), _sun(rng)
    radius, theta = length(frame.u, frame.v), np.arctan2(frame.v, frame.u)
    flank = np.clip(np.sin(theta * teeth) * 2.2, -1, 1) * 0.055
    edge = np.maximum(radius - np.float32(0.9) - flank, np.float32(0.16) - radius)
    web = np.maximum(radius - np.float32(0.68), np.float32(0.34) - radius)
    shade = _turned(rng, frame) + 0.35 * frame.slope(edge, 0.05, sun) - 0.35 * frame.slope(web, 0.05, sun)
    image = flat(colour(rng, STEEL + BRASS), shade - 0.13 * frame.cover(web))
    return place_on_bench(rng, frame, image, edge)


def draw_bearing(rng: Generator, size: int) -> Surface:
    """A ball bearing: two races with a ring of balls between them."""
    frame = make_frame(rng, size)
    sun, balls = _sun(rng), int(rng.integers(9, 13))
    radius = length(frame.u, frame.v)
    edge = np.maximum(radius - np.float32(0.95), np.float32(0.24) - radius)
    track = np.abs(radius - np.float32(0.6)) - np.float32(0.16)
    steel = colour(rng, STEEL)
    image = flat(steel, _turned(rng, frame) + 0.3 * frame.slope(edge, 0.05, sun) - 0.4 * frame.slope(track, 0.04, sun))
    image = blend(image, steel * np.float32(0.66), frame.cover(track))
    angle = np.arange(balls) * 2 * np.pi / balls
    for cos, sin in zip(np.cos(angle).tolist(), np.sin(angle).tolist(), strict=True):
        _ball(frame, image, steel * np.float32(1.12), 0.6 * cos, 0.6 * sin, 0.125, sun)
    return place_on_bench(rng, frame, image, edge)


def draw_capsule(rng: Generator, size: int) -> Surface:
    """A two-coloured gelatine capsule with its seam."""
    frame = make_frame(rng, size)
    edge = bar(frame.u, frame.v, 0.44, 0.52)
    first, second = rng.permutation(len(PLASTIC))[:2]
    left, right = colour(rng, [PLASTIC[first]], 12), colour(rng, [PLASTIC[second]], 12)
    seam = np.float32(rng.uniform(-0.15, 0.15))
    image = blend(flat(left, np.ones_like(edge)), right, frame.cover(seam - frame.u))
    lip = np.exp(-(((frame.u - seam) / 0.02) ** 2))
    tube = np.cos(np.clip(frame.v / 0.56, -1, 1) * 1.25)
    shade = 0.62 + 0.42 * tube + 0.16 * np.exp(-(((frame.v + 0.2) / 0.06) ** 2)) - 0.16 * lip
    return place_on_bench(rng, frame, image * wide(shade), edge)


def draw_button(rng: Generator, size: int) -> Surface:
    """A four-hole garment button with a raised rim."""
    frame = make_frame(rng, size)
    sun = _sun(rng)
    edge, well = disc(frame.u, frame.v, 0.94), disc(frame.u, frame.v, 0.68)
    hole = disc(np.abs(frame.u) - np.float32(0.16), np.abs(frame.v) - np.float32(0.16), 0.085)
    marble = 0.05 * np.sin(4 * fractal(rng, size, 3, 3) + 3 * frame.u)
    shade = 1 + marble + 0.3 * frame.slope(edge, 0.1, sun) - 0.3 * frame.slope(well, 0.08, sun)
    image = flat(colour(rng, PLASTIC, 14), shade.astype(np.float32))
    return place_on_bench(rng, frame, image, np.maximum(edge, -hole))


def draw_circuit_board(rng: Generator, size: int) -> Surface:
    """A printed circuit board: traces, pads, chips and resistors."""
    frame = make_frame(rng, size, turn=0.2)
    edge = box(frame.u, frame.v, 0.9, 0.9, 0.06)
    board = colour(rng, [(52, 112, 74), (48, 88, 128), (66, 118, 92), (112, 58, 62)], 8)
    copper, gold = board * np.float32(1.3) + 12, colour(rng, BRASS)
    image = flat(board, 1 + 0.03 * noise(rng, size, 30))
    for _ in range(11):
        _trace(rng, frame, image, copper)
    for x, y in rng.uniform(-0.8, 0.8, (10, 2)).tolist():
        _via(frame, image, gold, x, y)
    for at in np.linspace(-0.7, 0.7, 12).tolist():
        _plate(frame, image, gold, at, 0.82, 0.035, 0.06)
    for x, y in ((-0.42, -0.4), (0.38, 0.32)):
        _chip(rng, frame, image, x + rng.uniform(-0.06, 0.06), y + rng.uniform(-0.06, 0.06))
    for x, y in ((0.35, -0.5), (0.62, -0.24), (-0.5, 0.3), (-0.3, 0.55), (-0.66, 0.5)):
        _resistor(rng, frame, image, x, y)
    return place_on_bench(rng, frame, image, edge)


def draw_plug(rng: Generator, size: int) -> Surface:
    """A round mains plug from the front: two brass pins and earth clips in a moulded body."""
    frame = make_frame(rng, size)
    sun = _sun(rng)
    edge, face = disc(frame.u, frame.v, 0.94), disc(frame.u, frame.v, 0.74)
    body = colour(rng, [(112, 116, 122), (142, 136, 126), (104, 120, 140), (150, 144, 138)], 8)
    shade = (
        1 + 0.02 * fractal(rng, size, 20, 2) + 0.3 * frame.slope(edge, 0.08, sun) - 0.35 * frame.slope(face, 0.05, sun)
    )
    image = flat(body, shade - 0.1 * frame.cover(face))
    metal = colour(rng, BRASS)
    for side in (-1, 1):
        _ball(frame, image, metal, 0.34 * side, 0.0, 0.12, sun)
        clip = box(frame.u, frame.v - np.float32(0.8 * side), 0.13, 0.12, 0.03)
        image = blend(image, flat(metal, 0.9 + 0.3 * frame.slope(clip, 0.04, sun)), frame.cover(clip))
    return place_on_bench(rng, frame, image, edge)


def draw_cable(rng: Generator, size: int) -> Surface:
    """A three-core cable, cut: sheath, filler and stranded conductors."""
    frame = make_frame(rng, size)
    sun, edge = _sun(rng), disc(frame.u, frame.v, 0.93)
    sheath = colour(rng, [(106, 108, 112), (142, 138, 132), (96, 106, 120)], 8)
    inner = disc(frame.u, frame.v, 0.8)
    image = flat(sheath, 1 + 0.25 * frame.slope(edge, 0.06, sun))
    image = blend(
        image, flat(np.array([172, 166, 152], np.float32), 1 + 0.04 * noise(rng, size, 70)), frame.cover(inner)
    )
    copper = colour(rng, [(186, 122, 82)])
    for k, core in enumerate(((92, 124, 176), (140, 96, 74), (140, 160, 76))):
        x, y = 0.43 * np.cos(k * 2.0944), 0.43 * np.sin(k * 2.0944)
        jacket = disc(frame.u - np.float32(x), frame.v - np.float32(y), 0.355)
        body = flat(colour(rng, [core], 8), 1 + 0.25 * frame.slope(jacket, 0.06, sun))
        image = blend(image, body, frame.cover(jacket))
        for step in range(7):
            reach = 0.0 if step == 6 else 0.145
            turn = step * np.pi / 3 + k
            _ball(frame, image, copper, x + reach * np.cos(turn), y + reach * np.sin(turn), 0.075, sun)
    return place_on_bench(rng, frame, image, edge)


def draw_hex_nut(rng: Generator, size: int) -> Surface:
    """A hexagon nut with its chamfer and thread."""
    frame = make_frame(rng, size)
    sun = _sun(rng)
    bore = rng.uniform(0.36, 0.44)
    edge = np.maximum(polygon(frame.u, frame.v, 6, 0.86), -disc(frame.u, frame.v, bore))
    chamfer = disc(frame.u, frame.v, 0.84)
    radius = length(frame.u, frame.v)
    thread = np.where(radius < bore + 0.1, 0.14 * np.sin(radius * 190), 0).astype(np.float32)
    shade = _turned(rng, frame) + 0.3 * frame.slope(edge, 0.05, sun) - 0.16 * (1 - frame.cover(chamfer)) + thread
    return place_on_bench(rng, frame, flat(colour(rng, STEEL + BRASS), shade), edge)


def draw_bottle(rng: Generator, size: int) -> Surface:
    """A bottle seen into its mouth: shoulder, lip and the inside."""
    frame = make_frame(rng, size)
    sun, edge = _sun(rng), disc(frame.u, frame.v, 0.95)
    glass = colour(rng, [(132, 92, 58), (78, 122, 86), (92, 124, 138), (146, 112, 66)], 8)
    lip = np.abs(disc(frame.u, frame.v, 0.62)) - np.float32(0.14)
    inside = disc(frame.u, frame.v, 0.48)
    theta = np.arctan2(frame.v, frame.u)
    gleam = 0.12 * np.cos(theta - sun) ** 3 + 0.05 * np.cos(3 * theta + rng.uniform(0, 6))
    image = flat(glass, (1 + gleam + 0.25 * frame.slope(edge, 0.14, sun)).astype(np.float32))
    image = blend(image, flat(glass * np.float32(1.22), 1 + 0.3 * frame.slope(lip, 0.1, sun)), frame.cover(lip))
    image = blend(image, flat(glass * np.float32(0.68), 1 - 0.3 * frame.slope(inside, 0.4, sun)), frame.cover(inside))
    return place_on_bench(rng, frame, image, edge)


def draw_screw(rng: Generator, size: int) -> Surface:
    """A machine screw lying across the frame: slotted head, shank and thread."""
    frame = make_frame(rng, size, scale=0.92)
    metal = colour(rng, STEEL + BRASS)
    shaft, head = 0.3, 0.56
    crest = (0.03 * np.sin((frame.u + 0.35 * frame.v) * 62)).astype(np.float32)
    thread = box(frame.u - np.float32(0.26), frame.v, 0.78, shaft) - np.where(frame.u > -0.2, crest, 0)
    cap = box(frame.u + np.float32(0.74), frame.v, 0.26, head, 0.1)
    edge = np.minimum(thread, cap)
    roll = np.cos(np.clip(frame.v / shaft, -1, 1) * 1.2)
    dome = np.cos(np.clip(frame.v / head, -1, 1) * 1.2)
    grooves = np.where(frame.u > -0.2, 0.16 * np.sin((frame.u + 0.35 * frame.v) * 62 + 0.8), 0)
    shade = np.where(cap < 0, 0.55 + 0.55 * dome, 0.52 + 0.52 * roll + grooves)
    slot = box(frame.u + np.float32(1.0), frame.v, 0.13, 0.08)
    return place_on_bench(rng, frame, flat(metal, shade), np.maximum(edge, -slot))


def draw_pill(rng: Generator, size: int) -> Surface:
    """An oval tablet with a score line and a bevelled rim."""
    frame = make_frame(rng, size)
    sun = _sun(rng)
    edge = bar(frame.u, frame.v, 0.2, 0.72)
    score = box(frame.u, frame.v, 0.03, 0.56, 0.02)
    tint = colour(rng, [(182, 172, 156), (186, 150, 148), (150, 168, 186), (184, 172, 120)], 8)
    shade = (
        1 + 0.03 * fractal(rng, size, 40, 2) + 0.3 * frame.slope(edge, 0.16, sun) - 0.3 * frame.slope(score, 0.03, sun)
    )
    return place_on_bench(rng, frame, flat(tint, shade), edge)


def _sun(rng: Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))


def _turned(rng: Generator, frame: Frame) -> Field:
    """Brightness of a lathe-turned face: a sheen that circles the axis, and fine rings."""
    theta, radius = np.arctan2(frame.v, frame.u), length(frame.u, frame.v)
    sheen = 0.1 * np.cos(2 * theta + np.float32(rng.uniform(0, 6)))
    return (1 + sheen + 0.025 * np.sin(radius * np.float32(rng.uniform(90, 130)))).astype(np.float32)


def _lay(frame: Frame, image: Pixels, x: float, y: float, reach: float, part: Callable[[Frame], Layer]) -> None:
    """Draws a small part around (x, y) into `image`, in place, touching only the pixels around it."""
    window, near = frame.near(x, y, reach)
    if near.u.size:
        body, distance = part(near)
        image[window] = blend(image[window], body, near.cover(distance))


def _ball(frame: Frame, image: Pixels, tint: Colour, x: float, y: float, radius: float, sun: float) -> None:
    """Lays a shaded ball at (x, y)."""

    def part(near: Frame) -> Layer:
        u, v = near.u / np.float32(radius), near.v / np.float32(radius)
        reach = length(u, v)
        facing = np.float32(np.cos(sun)) * u + np.float32(np.sin(sun)) * v
        return flat(tint, 0.72 + 0.36 * np.sqrt(np.clip(1 - reach**2, 0, 1)) + 0.16 * facing), (reach - 1) * radius

    _lay(frame, image, x, y, radius, part)


def _plate(frame: Frame, image: Pixels, tint: Colour, x: float, y: float, width: float, height: float) -> None:
    """Lays a flat rectangle at (x, y)."""
    _lay(frame, image, x, y, width + height, lambda near: (tint, box(near.u, near.v, width, height, 0.008)))


def _via(frame: Frame, image: Pixels, tint: Colour, x: float, y: float) -> None:
    """Lays a small ring at (x, y)."""
    _lay(frame, image, x, y, 0.06, lambda near: (tint, np.abs(disc(near.u, near.v, 0.035)) - np.float32(0.016)))


def _trace(rng: Generator, frame: Frame, image: Pixels, tint: Colour) -> None:
    """Lays a copper trace: a level run and an upright run that meet."""
    x, y = rng.uniform(-0.7, 0.5, 2).tolist()
    run, drop = rng.uniform(0.2, 0.9, 2).tolist()
    run, drop = min(run, 0.76 - x), min(drop, 0.66 - y)
    _plate(frame, image, tint, x + run / 2, y, run / 2, 0.012)
    _plate(frame, image, tint, x + run, y + drop / 2, 0.012, drop / 2)


def _chip(rng: Generator, frame: Frame, image: Pixels, x: float, y: float) -> None:
    """Lays a chip with two rows of legs."""
    width, height = rng.uniform(0.24, 0.32), rng.uniform(0.16, 0.22)

    def legs(near: Frame) -> Layer:
        gaps = np.sin(near.u * np.float32(56)) * np.float32(0.02)
        return np.array([176, 176, 172], np.float32), np.maximum(box(near.u, near.v, width * 0.94, height + 0.07), gaps)

    def body(near: Frame) -> Layer:
        edge = box(near.u, near.v, width, height, 0.02)
        return flat(np.array([74, 76, 82], np.float32), 1 + 0.3 * near.slope(edge, 0.03, 4.0)), edge

    _lay(frame, image, x, y, 0.5, legs)
    _lay(frame, image, x, y, 0.4, body)


def _resistor(rng: Generator, frame: Frame, image: Pixels, x: float, y: float) -> None:
    """Lays a small two-ended component."""
    upright = rng.random() < 0.5
    body = colour(rng, [(148, 120, 84), (96, 92, 96), (128, 104, 84)])
    for tint, width, height in ((np.array([170, 170, 164], np.float32), 0.1, 0.045), (body, 0.062, 0.05)):
        _plate(frame, image, tint, x, y, *((height, width) if upright else (width, height)))
