"""Copies of training images: small ones, which are fast to load, and upright ones of 8 bits for ms-swift."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path
from typing import Any

import cv2

from data.errors import UserError
from data.files import make_dir, read_json, write_bytes
from data.image_size import read_header
from data.sample import load_image, resize_image

log = logging.getLogger(__name__)
MOST = 178_956_970  # pixels; ms-swift opens images with Pillow, which refuses more


def cache_images(rows: list[dict[str, Any]], folder: Path, *, size: int | None) -> list[dict[str, Any]]:
    """DDQA rows whose images ms-swift sees as the project does.

    It neither turns a photo as its orientation tag says nor scales 16 bits, without an error: boxes would lie beside
    the defects, and grey would be white. Such an image is replaced by a copy.

    Args:
        rows: Rows with `images`.
        folder: Where the copies go, as PNG; those that are there are not made again.
        size: Longer side of a copy, aspect kept: every image is copied. None copies only where it must be.

    Raises:
        UserError: If an image does not decode, or is larger than ms-swift opens.
    """
    seen: dict[str, str] = {}
    spoken = time.monotonic()
    for row in rows:
        for image in row["images"]:
            if image not in seen:
                seen[image] = (
                    image if size is None and _is_plain(Path(image)) else str(_copy(Path(image), folder, size))
                )
                if time.monotonic() - spoken > 5:
                    spoken = time.monotonic()
                    log.info("EDDM LoRA: %d images prepared", len(seen))
    return [row | {"images": [seen[image] for image in row["images"]]} for row in rows]


def base_side(base: Path) -> int:
    """Side in pixels to which a checkpoint's own processor resizes an image.

    Raises:
        UserError: If the folder does not say.
    """
    for name in ("processor_config.json", "preprocessor_config.json"):
        told = read_json(base / name) if (base / name).is_file() else {}
        side = (told.get("image_processor") or told).get("scale_resolution")
        if side:
            return int(side)
    raise UserError(
        f"optim.image_size=0 takes the side that the processor of the base resizes to, but {base} names no "
        "scale_resolution. Set optim.image_size to a number of pixels, or to null for the originals."
    )


def _is_plain(path: Path) -> bool:
    header = read_header(path)
    height, width = header.size
    if height * width > MOST:
        raise UserError(
            f"Too large for ms-swift: {path} is {width}x{height}, more than {MOST:,} pixels. Train on smaller copies: "
            "optim.image_size=N, the longer side."
        )
    return header.is_plain


def _copy(path: Path, folder: Path, size: int | None) -> Path:
    status = path.stat()
    name = hashlib.sha256(f"{path}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:24]
    target = (make_dir(folder) / f"{name}.png").resolve()
    if not target.is_file():
        image = load_image(path)
        height, width = image.shape[:2]
        factor = min(1.0, size / max(height, width)) if size else 1.0
        if factor < 1:
            image = resize_image(image, (max(1, round(height * factor)), max(1, round(width * factor))))
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        write_bytes(target, encoded.tobytes(), durable=False)
    return target
