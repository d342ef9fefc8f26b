"""Files for trees in the layouts of the official downloads."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Draw = Callable[..., Path]


@pytest.fixture
def draw() -> Draw:
    """Writes an image of 40×60 pixels; with `square` a mask whose pixels (10..20, 5..15) have that value."""

    def write(path: Path, square: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((40, 60), 90, np.uint8) if square is None else np.zeros((40, 60), np.uint8)
        if square:
            pixels[5:15, 10:20] = square
        suffix = path.suffix.lower()
        path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())  # imwrite fails on non-ASCII names
        return path

    return write
