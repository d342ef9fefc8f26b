"""What the generic scenes have in common with photographs: real textures, other light, blur, noise and compression.

A model that has only seen clean drawings takes the grain of a photograph for damage. Everything here is harmless: it
changes how a surface looks, never where its marks are.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from data.errors import UserError
from data.factory.canvas import Colour, Field, Frame, Generator, Pixels, flat, grain, noise, pick, wide
from data.sample import ImageArray

PHOTOGRAPHS = ("brick", "grass", "gravel")  # in the public domain (CC0), shipped with scikit-image


def photographed(rng: Generator, frame: Frame, tint: Colour) -> Pixels:
    """A crop of a photographed texture, at any angle and scale, in shades of the tint: (H, W, 3)."""
    texture = _photograph(pick(rng, PHOTOGRAPHS))
    zoom, angle = rng.uniform(0.5, 3.0), float(rng.uniform(0, 360))
    middle = rng.uniform(0, texture.shape[0], 2)
    turn = np.asarray(cv2.getRotationMatrix2D((frame.size / 2, frame.size / 2), angle, zoom * frame.size / 256))
    turn[:, 2] = turn[:, 2] - turn[:, :2] @ middle + frame.size / 2
    blurred = cv2.GaussianBlur(texture, (0, 0), max(0.5 / zoom, 0.3))
    field = cv2.warpAffine(blurred, turn, (frame.size, frame.size), borderMode=cv2.BORDER_REFLECT)
    return flat(tint, 1 + np.float32(rng.uniform(0.05, 0.3)) * field)


@cache
def _photograph(name: str) -> Field:
    """One texture, (H, W) float32 of mean 0 and deviation 1."""
    try:
        from skimage import data as shipped
    except ModuleNotFoundError as error:
        raise UserError("Scenes with photographed textures need scikit-image: pip install scikit-image.") from error
    texture = np.asarray(getattr(shipped, name)(), np.float32)
    return (texture - texture.mean()) / texture.std()


def relight(rng: Generator, image: Pixels) -> tuple[Pixels, bool]:
    """Another exposure: darker or brighter, flatter or harder, grey or with a cast, under an uneven lamp.

    Returns:
        (H, W, 3), and whether the colour is gone.
    """
    size, is_grey = image.shape[0], bool(rng.random() < 0.35)
    if is_grey:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    elif rng.random() < 0.4:
        image = image * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    shade = np.clip(image / 255, 0, 1) ** np.float32(np.exp(rng.uniform(-0.35, 0.5)))
    exposure = np.float32(np.exp(rng.uniform(-0.9, 0.2)))
    lamp = 1 + np.float32(rng.uniform(0, 0.25)) * noise(rng, size, int(rng.integers(2, 5)))
    return (255 * exposure * shade * wide(lamp)).astype(np.float32), is_grey


def photograph(rng: Generator, image: Pixels) -> ImageArray:
    """What a plain camera makes of it: out of focus, noisy, compressed; (H, W, 3) uint8."""
    size = image.shape[0]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.3) * size / 256 + 0.1)
    if rng.random() < 0.5:
        image = image + wide(grain(rng, size, rng.uniform(1, 9)))
    if rng.random() < 0.3:  # each channel has noise of its own, in clumps
        image = image + cv2.GaussianBlur(rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32), (0, 0), 0.8)
    pixels = np.clip(image + np.float32(0.5), 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))]
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    return pixels
