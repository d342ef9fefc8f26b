"""Products that fill the image: sheet, cloth, stone, wood."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from data.factory.canvas import (
    Field,
    Generator,
    Surface,
    blend,
    box,
    colour,
    distance_to_dots,
    fill_frame,
    flat,
    fractal,
    length,
    make_frame,
    noise,
    place_on_bench,
    wrap,
)


def draw_brushed_metal(rng: Generator, size: int) -> Surface:
    """Grey sheet with fine straight grinding lines."""
    frame = make_frame(rng, size, turn=0.5)
    lines = _along(rng, size, frame.v * 64 + 128, 256) * 5 + _along(rng, size, frame.v * 24 + 128, 256) * 4
    glow = 12 * np.cos(frame.u * rng.uniform(2, 4) + rng.uniform(0, 6))
    tint = colour(rng, [(138, 142, 148), (150, 146, 138), (120, 126, 136)], 6)
    return fill_frame(rng, flat(tint, 1 + (lines + glow) / 140))


def draw_leather(rng: Generator, size: int) -> Surface:
    """Pebbled hide: rounded cells between fine creases."""
    cells = int(rng.integers(420, 700))
    wide = size + 32
    grid = np.stack(np.unravel_index(rng.choice(wide * wide, cells, replace=False), (wide, wide)), axis=1)
    away = cv2.GaussianBlur(distance_to_dots(grid, wide)[16:-16, 16:-16], (0, 0), size / 256 * 1.2)
    relief = -away * np.float32(cells**0.5 / size / 0.6)
    angle = rng.uniform(0, 2 * np.pi)
    slope = _shade(relief, angle) * 13
    tint = colour(rng, [(140, 88, 58), (112, 76, 62), (96, 92, 96), (146, 108, 72), (120, 62, 56)], 8)
    return fill_frame(rng, flat(tint, 1.05 + 0.12 * relief + slope / 100 + 0.05 * noise(rng, size, 5)))


def draw_wood(rng: Generator, size: int) -> Surface:
    """A planed board: growth rings cut lengthwise, and fine pores along them."""
    frame = make_frame(rng, size, turn=0.35)
    bend = noise(rng, size, (3, 2)) * 0.16
    depth = frame.v + bend + 0.14 * (frame.u - rng.uniform(-0.6, 0.6)) ** 2
    rings = depth * rng.uniform(20, 34) + 1.6 * _along(rng, size, depth * 8 + 32, 64)
    wave = np.abs(wrap(rings / np.pi, 1) - 0.35).astype(np.float32) ** 0.7
    pores = _along(rng, size, frame.v * 120 + 200 + 8 * bend, 400)
    tint = colour(rng, [(178, 128, 78), (160, 108, 66), (184, 146, 98), (138, 92, 60)], 8)
    dark = tint * np.array([0.8, 0.72, 0.62], np.float32)
    image = blend(flat(tint, 1 + 0.03 * pores), dark, np.clip(wave * 1.3 - 0.15, 0, 1))
    return fill_frame(rng, image)


def draw_weave(rng: Generator, size: int) -> Surface:
    """Plain-weave cloth: warp and weft threads pass over and under each other."""
    frame = make_frame(rng, size, turn=0.4)
    count = rng.uniform(13, 19)
    across, down = frame.u * np.float32(count), frame.v * np.float32(count)
    over = wrap(np.floor(across) + np.floor(down), 2)
    first, second = wrap(across, 1) - 0.5, wrap(down, 1) - 0.5
    warp = np.cos(first * np.pi) * (0.72 + 0.28 * np.cos(second * np.pi))
    weft = np.cos(second * np.pi) * (0.72 + 0.28 * np.cos(first * np.pi))
    base = [(112, 124, 150), (150, 136, 108), (98, 132, 118), (146, 104, 102), (128, 124, 122)]
    tint = colour(rng, base, 10)
    shade = 0.68 + 0.42 * np.where(over > 0, warp, weft) + 0.03 * noise(rng, size, 64)
    return fill_frame(rng, flat(tint, shade * np.where(over > 0, 1.0, rng.uniform(0.86, 1.0))))


def draw_granite(rng: Generator, size: int) -> Surface:
    """Polished stone: grains of three related tints, none of them dark."""
    tints = [(158, 152, 148), (164, 138, 128), (134, 142, 150), (146, 150, 132)]
    tint = colour(rng, tints, 8)
    mica, rose = colour(rng, [(0.74, 0.74, 0.78)], 0.04), colour(rng, [(1.06, 0.92, 0.86), (0.9, 0.98, 1.04)], 0.04)
    first, second = np.tanh(3 * noise(rng, size, 104)), np.tanh(3 * noise(rng, size, 88))
    image = flat(tint, 1 + 0.06 * noise(rng, size, 140) + 0.03 * noise(rng, size, 5))
    image = blend(image, tint * rose, np.clip(0.5 + 0.5 * first, 0, 1))
    return fill_frame(rng, blend(image, tint * mica, np.clip(second - 0.1, 0, 0.8)))


def draw_corrugated_sheet(rng: Generator, size: int) -> Surface:
    """Painted sheet with wide straight ridges."""
    frame = make_frame(rng, size, turn=0.45)
    phase = frame.u * np.float32(rng.uniform(13, 19)) + np.float32(rng.uniform(0, 6))
    ridge = np.sin(phase) * 0.17 + np.cos(2 * phase) * 0.05
    tint = colour(rng, [(126, 146, 158), (150, 152, 146), (118, 148, 126), (160, 122, 104)], 10)
    return fill_frame(rng, flat(tint, (1 + ridge + 0.02 * fractal(rng, size, 8, 3)).astype(np.float32)))


def draw_perforated_sheet(rng: Generator, size: int) -> Surface:
    """Steel sheet with a regular lattice of square openings that show the bench."""
    frame = make_frame(rng, size, turn=0.5)
    pitch = rng.uniform(0.17, 0.22)
    u, v = wrap(frame.u, pitch) - pitch / 2, wrap(frame.v, pitch) - pitch / 2
    opening = box(u, v, pitch * 0.24, pitch * 0.24, pitch * 0.06)
    tint = colour(rng, [(124, 130, 138), (136, 134, 128), (112, 128, 140)], 8)
    image = flat(tint, 1 + frame.slope(-opening, 0.02, rng.uniform(0, 6)) * 0.25 + 0.03 * fractal(rng, size, 6))
    return _over_bench(place_on_bench(rng, frame, image, -opening))


def draw_tile(rng: Generator, size: int) -> Surface:
    """Glazed wall tiles, marbled, in straight grout."""
    frame = make_frame(rng, size, turn=0.12)
    pitch = rng.uniform(0.58, 0.8)
    shift = rng.uniform(0, 1, 2).tolist()
    u, v = wrap(frame.u + shift[0], pitch) - pitch / 2, wrap(frame.v + shift[1], pitch) - pitch / 2
    edge = box(u, v, pitch * 0.48, pitch * 0.48, 0.02)
    tint = colour(rng, [(150, 164, 168), (172, 154, 134), (136, 158, 144), (150, 142, 162)], 10)
    marble = 0.06 * np.sin(5 * fractal(rng, size, 3) + 4 * frame.u)
    glaze = flat(tint, (1 + marble + 0.22 * frame.slope(edge, 0.04, rng.uniform(0, 6))).astype(np.float32))
    grout = flat(np.array([112, 110, 106], np.float32), 1 + 0.05 * noise(rng, size, 90))
    return fill_frame(rng, blend(grout, glaze, frame.cover(edge)))


def draw_carpet(rng: Generator, size: int) -> Surface:
    """Loop-pile carpet: staggered rows of small tufts."""
    frame = make_frame(rng, size, turn=0.3)
    count = np.float32(rng.uniform(19, 26))
    row = np.floor(frame.v * count)
    across = wrap(frame.u * count * 0.8 + 0.5 * wrap(row, 2) + 0.07 * noise(rng, size, 50), 1) - 0.5
    down = wrap(frame.v * count, 1) - 0.5
    tuft = np.clip(1.1 - 1.9 * length(across, down * 0.9), 0, 1)
    tint = colour(rng, [(118, 106, 132), (96, 120, 136), (138, 112, 92), (108, 126, 104)], 10)
    shade = 0.66 + 0.5 * tuft + 0.09 * noise(rng, size, 100) + 0.05 * noise(rng, size, 12)
    return fill_frame(rng, flat(tint, shade.astype(np.float32)))


def draw_wire_grid(rng: Generator, size: int) -> Surface:
    """Woven wire mesh on the bench."""
    frame = make_frame(rng, size, turn=0.6)
    pitch = rng.uniform(0.15, 0.2)
    row, column = frame.v / pitch, frame.u / pitch
    thick = pitch * rng.uniform(0.2, 0.25)
    across = np.abs(wrap(frame.u, pitch) - pitch / 2)
    down = np.abs(wrap(frame.v, pitch) - pitch / 2)
    over = np.cos(np.pi * np.floor(row)) * np.cos(np.pi * np.floor(column)) > 0
    upright, level = np.cos(np.clip(across / thick, 0, 1) * 1.3), np.cos(np.clip(down / thick, 0, 1) * 1.3)
    first, second = across < thick, down < thick
    shade = np.where(first & (~second | over), upright, level)
    tint = colour(rng, [(132, 138, 146), (148, 138, 116), (120, 132, 128)], 8)
    distance = np.minimum(across, down) - thick
    return _over_bench(place_on_bench(rng, frame, flat(tint, 0.5 + 0.6 * shade), distance))


def _over_bench(surface: Surface) -> Surface:
    """Lets defects span the openings of a mesh, as they do on a real one."""
    return replace(surface, foreground=np.ones_like(surface.foreground))


def _along(rng: Generator, size: int, position: Field, entries: int) -> Field:
    """A random one-dimensional profile, looked up at `position` (in entries): straight lines across the image."""
    profile = rng.standard_normal((1, entries), dtype=np.float32)
    rows = np.zeros((size, size), np.float32)
    return cv2.remap(profile, position.astype(np.float32), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _shade(relief: Field, angle: float) -> Field:
    """Light on a height field from a direction in the image."""
    along_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3)
    along_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3)
    return along_x * np.float32(np.cos(angle)) + along_y * np.float32(np.sin(angle))
