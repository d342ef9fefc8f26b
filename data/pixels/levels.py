"""The one decoder of masks: a number a pixel at the file's depth, from grey, colours, a palette or transparency."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.pixels.decode import (
    UnreadableError,
    check_header,
    check_memory,
    check_rescue,
    decode_with_opencv,
    load_with_pillow,
    read_file,
    too_large,
)
from data.pixels.header import UNSUPPORTED, Header

ACCEPTED = "Accepted are grey levels, colours, numbers in a palette, or a transparency that alone tells the defect"
TURNS = {  # EXIF orientation → (swap the axes, flip the rows, flip the columns)
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def decode_levels(path: Path, content: bytes | None = None) -> NDArray:
    """Decodes the levels of a mask: (H, W), unsigned or signed integers or floating-point numbers as the file has them.

    A colour counts by its strongest channel. A palette counts by its numbers (as in PASCAL VOC), or by its grey levels
    where it is all grey with black as number 0. Where the colour is one and the transparency varies, the opaque part
    is the mask. Pages of one size are united.

    Args:
        path: The file.
        content: Its bytes, where they are read already.

    Raises:
        UserError: If the file is missing, does not decode, or could be meant in two ways.
    """
    content = content or read_file(path, "mask")
    header = check_header(content, path, "mask")
    check_memory(header, path)
    try:
        if header.mode in ("P", "PA", "LA", "La"):
            levels = [_from_pillow(content, path, page) for page in range(header.pages)]
        elif header.pages > 1:
            levels = [_join_channels(page, path) for page in _pages(content, path, header)]
        else:
            return _join_channels(_decode(content, path, header), path)
        if any(page.shape != levels[0].shape for page in levels):
            raise UnreadableError(path, "mask", f"{UNSUPPORTED}: {header.pages} pages of different sizes. Keep one")
        return np.maximum.reduce(levels)
    except MemoryError as error:
        raise too_large(header, path) from error


def _decode(content: bytes, path: Path, header: Header) -> NDArray:
    """(H, W) or (H, W, channels), BGR or BGRA."""
    pixels = decode_with_opencv(content, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        check_rescue(header, path, "mask")
        return _to_array(load_with_pillow(content, path, "mask"))
    # OpenCV turns a TIFF, but leaves other files as they lie where it is asked for all their channels
    return pixels if header.format == "TIFF" else _turn(pixels, header.orientation)


def _pages(content: bytes, path: Path, header: Header) -> list[NDArray]:
    whole, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if whole and len(pages) == header.pages:
        return list(pages)
    return [_to_array(load_with_pillow(content, path, "mask", page)) for page in range(header.pages)]


def _turn(pixels: NDArray, orientation: int) -> NDArray:
    swap, rows, columns = TURNS.get(orientation, (False, False, False))
    pixels = pixels.swapaxes(0, 1) if swap else pixels
    return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1])


def _to_array(image: Image.Image) -> NDArray:
    """Pillow's image as OpenCV would have given it."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(255)
    if image.mode in ("L", "I", "F", "RGB", "RGBA") or image.mode.startswith("I;16"):
        pixels = np.asarray(image)
    else:
        pixels = np.asarray(image.convert("RGB"))
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def _from_pillow(content: bytes, path: Path, page: int) -> NDArray:
    """Levels of a picture with a palette, or of grey with transparency."""
    image = load_with_pillow(content, path, "mask", page)
    if image.mode != "P":
        pixels = np.asarray(image.convert("LA"))
        return _choose(pixels[..., 0], pixels[..., 1], path)
    numbers = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(np.append(numbers, 0))
    if used[-1] >= len(palette):
        return numbers  # of numbers without a colour
    colours = palette[used]
    grey = (colours == colours[:, :1]).all()
    if not grey or (colours == colours[0]).all():
        return numbers
    if colours[0, 0] == colours.min():
        return palette[:, 0][numbers]
    raise UnreadableError(
        path,
        "mask",
        f"{UNSUPPORTED}: a palette whose number 0, the background, is lighter than others. {ACCEPTED}: save it as grey "
        "with 0 for the background",
    )


def _join_channels(pixels: NDArray, path: Path) -> NDArray:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] < 4:
        return pixels.max(axis=2)
    return _choose(pixels[..., :3].max(axis=2), pixels[..., 3], path)


def _choose(levels: NDArray, opaque: NDArray, path: Path) -> NDArray:
    """Levels or transparency, whichever tells the defect."""
    levels_vary, opaque_varies = (bool((values != values.flat[0]).any()) for values in (levels, opaque))
    if not opaque_varies and (levels_vary or opaque.flat[0]):
        return levels
    if not levels_vary:
        return opaque
    if ((levels > 0) == (opaque > 0)).all():
        return levels
    raise UnreadableError(
        path,
        "mask",
        f"{UNSUPPORTED}: colours and transparency tell different defects. {ACCEPTED}: save it as grey with 0 for the "
        "background",
    )
