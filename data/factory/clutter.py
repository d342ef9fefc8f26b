"""Harmless detail for generic scenes: rows and circles of parts, rims, inlays, recesses, lines, halves of two colours.

Real products are full of such detail. A model that has only seen marks on plain surfaces calls every detail a mark.
"""

from __future__ import annotations

import cv2
import numpy as np

from data.factory.canvas import Field, Frame, Generator, Pixels, bar, blend, box, disc, length, polygon, wide, wrap


def add_clutter(rng: Generator, frame: Frame, image: Pixels, outline: Field | None = None) -> Pixels:
    """Draws one to four kinds of detail on a surface.

    Args:
        rng: Source of everything random.
        frame: Posed coordinates.
        image: (H, W, 3) the surface.
        outline: (H, W) signed distance to the object's outline; None when the surface fills the image.

    Returns:
        (H, W, 3), a new image.
    """
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.random()
        if kind < 0.2 and outline is not None:
            image = _draw_rim(rng, frame, image, outline)
        elif kind < 0.3 and outline is not None:
            image = _draw_inlays(rng, frame, image, outline)
        elif kind < 0.7:
            image = _draw_parts(rng, frame, image)
        elif kind < 0.8:
            image = _draw_lines(rng, frame, image)
        elif kind < 0.9:
            image = _draw_rings(rng, frame, image)
        else:
            image = _draw_half(rng, frame, image)
    return image


def _draw_parts(rng: Generator, frame: Frame, image: Pixels) -> Pixels:
    """One part, a circle of parts or a grid of parts, all alike: flat, domed, sunk, or open to what lies behind."""
    layout = int(rng.integers(3))
    if layout == 0:
        u, v = frame.u - np.float32(rng.uniform(-0.5, 0.5)), frame.v - np.float32(rng.uniform(-0.5, 0.5))
        reach = rng.uniform(0.08, 0.4)
    elif layout == 1:
        count, radius = int(rng.integers(2, 14)), rng.uniform(0.2, 0.75)
        step = 2 * np.pi / count
        theta = wrap(np.arctan2(frame.v, frame.u) + np.float32(rng.uniform(0, step)), step) - np.float32(step / 2)
        far = length(frame.u, frame.v)
        u, v = far * np.cos(theta) - np.float32(radius), far * np.sin(theta)
        reach = min(rng.uniform(0.3, 0.9) * radius * np.sin(step / 2), 0.3)
    else:
        pitch = rng.uniform(0.15, 0.5)
        u, v = (wrap(axis + np.float32(pitch / 2), pitch) - np.float32(pitch / 2) for axis in (frame.u, frame.v))
        outside = np.maximum(np.abs(frame.u), np.abs(frame.v)) > rng.uniform(0.3, 1.0)
        u = np.where(outside, np.float32(9), u)
        reach = pitch * rng.uniform(0.15, 0.42)
    edge = _shape(rng, u, v, reach).astype(np.float32)
    image = _finish(rng, frame, image, edge, reach)
    if rng.random() < 0.3:  # a part inside each part, or a circle of them
        inner = reach * rng.uniform(0.2, 0.6)
        if rng.random() < 0.4:
            step = 2 * np.pi / int(rng.integers(3, 8))
            theta = wrap(np.arctan2(v, u), step) - np.float32(step / 2)
            far = length(u, v)
            u, v = far * np.cos(theta) - np.float32(reach * 0.55), far * np.sin(theta)
            inner = reach * rng.uniform(0.12, 0.25)
        image = _finish(rng, frame, image, _shape(rng, u, v, inner).astype(np.float32), inner)
    return image


def _shape(rng: Generator, u: Field, v: Field, reach: float) -> Field:
    kind = int(rng.integers(6))
    if kind < 2:
        return disc(u, v, reach)
    if kind == 2:
        return np.abs(disc(u, v, reach * 0.8)) - np.float32(reach * 0.2)
    if kind == 3:
        return bar(u, v, reach * 0.7, reach * rng.uniform(0.15, 0.4))
    if kind == 4:
        return box(u, v, reach, reach * rng.uniform(0.4, 1), reach * rng.uniform(0, 0.3))
    return polygon(u, v, int(rng.integers(3, 8)), reach * 0.8)


def _finish(rng: Generator, frame: Frame, image: Pixels, edge: Field, reach: float, *, is_open: bool = True) -> Pixels:
    style, angle = rng.random(), float(rng.uniform(0, 2 * np.pi))
    if is_open and style < 0.2:  # open: a pale background with a shaded wall
        tint = np.full(3, rng.uniform(175, 230), np.float32) + rng.uniform(-15, 15, 3).astype(np.float32)
        shade = 1 - np.float32(rng.uniform(0.1, 0.4)) * np.clip(1 + edge / np.float32(0.06), 0, 1)
        return blend(image, wide(shade) * tint, frame.cover(edge))
    tint = _near_or_any(rng, image)
    cover = frame.cover(edge) * np.float32(rng.uniform(0.5, 1))
    image = blend(image, np.clip(tint, 0, 245), cover) if style < 0.85 else image
    if style > 0.4:  # domed or sunk
        depth = rng.uniform(0.2, 0.8) * (1 if rng.random() < 0.65 else -1)
        image = image * wide(1 + np.float32(depth) * frame.slope(edge, float(reach * rng.uniform(0.2, 1)), angle))
    return image


def _draw_rim(rng: Generator, frame: Frame, image: Pixels, outline: Field) -> Pixels:
    """A raised, sunk or coloured border along the outline, and the step or groove at its inner side."""
    width = rng.uniform(0.04, 0.3)
    inner = (outline + np.float32(width)).astype(np.float32)
    angle = float(rng.uniform(0, 2 * np.pi))
    if rng.random() < 0.5:
        image = blend(image, _near_or_any(rng, image), (1 - frame.cover(inner)) * np.float32(rng.uniform(0.3, 1)))
    depth = rng.uniform(0.15, 0.8) * rng.choice([-1, 1])
    image = image * wide(1 + np.float32(depth) * frame.slope(inner, float(rng.uniform(0.02, 0.12)), angle))
    if rng.random() < 0.4:
        groove = frame.cover(np.abs(inner) - np.float32(rng.uniform(0.005, 0.03)))
        image = image * wide(1 - np.float32(rng.uniform(0.1, 0.6)) * groove)
    return image


def _draw_inlays(rng: Generator, frame: Frame, image: Pixels, outline: Field) -> Pixels:
    """Like pieces of another material along the outline, cut off by it."""
    count = int(rng.integers(2, 12))
    step = 2 * np.pi / count
    theta = wrap(np.arctan2(frame.v, frame.u) + np.float32(rng.uniform(0, step)), step) - np.float32(step / 2)
    across = np.abs(length(frame.u, frame.v) * np.sin(theta)) - np.float32(rng.uniform(0.04, min(0.2, 0.3 * step)))
    edge = np.maximum(across, -outline - np.float32(rng.uniform(0.06, 0.25))).astype(np.float32)
    edge = np.maximum(edge, np.abs(theta) - np.float32(np.pi / 2))
    return _finish(rng, frame, image, edge, 0.1, is_open=False)


def _draw_lines(rng: Generator, frame: Frame, image: Pixels) -> Pixels:
    """Clean straight or stepped lines and tracks, lighter or darker than the surface."""
    size = frame.size
    canvas = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 7))):
        point = rng.uniform(0.1, 0.9, 2) * size
        turn = rng.choice(4) * np.pi / 2 + (rng.uniform(0, 7) if rng.random() < 0.3 else 0)
        path = [point]
        for _ in range(int(rng.integers(1, 4))):
            point = point + np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(0.1, 0.5) * size
            path.append(point)
            turn += rng.choice([-1, 1]) * np.pi / _pick_step(rng)
        width = max(1, round(size / 128 * rng.uniform(0.7, 2.2)))
        cv2.polylines(canvas, [np.round(np.asarray(path) * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
    cover = canvas.astype(np.float32) / 255 * np.float32(rng.uniform(0.3, 0.9))
    tint = np.asarray(cv2.mean(image)[:3], np.float32) * np.float32(rng.uniform(0.6, 1.5))
    return blend(image, np.clip(tint, 0, 245), cover)


def _pick_step(rng: Generator) -> float:
    """Two for a right angle, four for half of one."""
    return 2.0 if rng.random() < 0.7 else 4.0


def _draw_rings(rng: Generator, frame: Frame, image: Pixels) -> Pixels:
    """Concentric steps or grooves around the middle."""
    far, angle = length(frame.u, frame.v), rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 4))):
        edge = np.abs(far - np.float32(rng.uniform(0.15, 0.85))) - np.float32(rng.uniform(0.01, 0.1))
        image = image * wide(1 + np.float32(rng.uniform(-0.6, 0.6)) * frame.slope(edge, 0.05, angle))
        image = image * wide(1 - np.float32(rng.uniform(-0.15, 0.3)) * frame.cover(edge))
    return image


def _draw_half(rng: Generator, frame: Frame, image: Pixels) -> Pixels:
    """Another colour beyond a straight seam."""
    side = (frame.u - np.float32(rng.uniform(-0.4, 0.4))).astype(np.float32)
    relative = image / np.maximum(np.asarray(cv2.mean(image)[:3], np.float32), 1)
    image = blend(image, relative * _any_colour(rng), frame.cover(side))
    return image * wide(1 - np.float32(rng.uniform(0, 0.5)) * frame.cover(np.abs(side) - np.float32(0.012)))


def _near_or_any(rng: Generator, image: Pixels) -> Pixels:
    """A shade of the surface, or any colour."""
    middle = np.asarray(cv2.mean(image)[:3], np.float32)
    return middle * np.float32(rng.uniform(0.55, 1.4)) if rng.random() < 0.4 else _any_colour(rng)


def _any_colour(rng: Generator) -> Pixels:
    """Any colour, from grey to saturated."""
    grey, strength = rng.uniform(50, 200), rng.uniform(0, 110)
    return np.clip(grey + rng.uniform(-1, 1, 3) * strength, 20, 235).astype(np.float32)
