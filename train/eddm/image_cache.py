"""Small copies of training images, so that every step of a small model need not decode and resize large ones."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import cv2

from data.files import make_dir
from data.sample import load_image, resize_image

log = logging.getLogger(__name__)


def cache_images(rows: list[dict[str, Any]], folder: Path, *, size: int) -> list[dict[str, Any]]:
    """Copies of DDQA rows that point to images of at most `size` pixels a side, aspect kept.

    Args:
        rows: Rows with `images`.
        folder: Where the copies go, as PNG; those that are there are not made again.
        size: Longer side of a copy.
    """
    make_dir(folder)
    small: dict[str, str] = {}
    spoken = time.monotonic()
    for row in rows:
        for image in row["images"]:
            if image not in small:
                small[image] = str(_shrink(Path(image), folder, size))
                if time.monotonic() - spoken > 5:
                    spoken = time.monotonic()
                    log.info("EDDM LoRA: %d images resized", len(small))
    return [row | {"images": [small[image] for image in row["images"]]} for row in rows]


def _shrink(path: Path, folder: Path, size: int) -> Path:
    target = (folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.png").resolve()
    if not target.is_file():
        image = load_image(path)
        height, width = image.shape[:2]
        factor = min(1.0, size / max(height, width))
        small = resize_image(image, (max(1, round(height * factor)), max(1, round(width * factor))))
        partial = target.with_suffix(".partial.png")
        cv2.imwrite(str(partial), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        partial.replace(target)
    return target
