"""One anomaly map on disk: `.npy`, `.tiff`, `.tif` or `.png`, one channel, higher is worse; it is written as `.npy`.

Floating-point files are taken as they are. An 8-bit PNG or TIFF is divided by 255, a 16-bit one by 65535, so that
both mean 0..1; nothing is stretched per image, which would make scores of different images incomparable.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.files import write_bytes
from data.pixels.decode import (
    UnreadableError,
    check_header,
    check_memory,
    check_rescue,
    decode_with_opencv,
    load_with_pillow,
    read_file,
)

SUFFIXES = (".npy", ".tiff", ".tif", ".png")


def write_map(path: Path, anomaly_map: NDArray[np.floating]) -> None:
    """Writes a map (H, W) as float32; the file appears whole.

    Raises:
        UserError: If the disk is full, or the file cannot be written.
    """
    content = io.BytesIO()  # written to a file, numpy does not tell why it could not
    np.save(content, anomaly_map.astype(np.float32, copy=False))
    write_bytes(path, content.getbuffer(), durable=False)


def read_map(path: Path) -> NDArray[np.floating]:
    """Decodes a map: (H, W) float16, float32 or float64.

    Raises:
        UserError: If the file does not decode, or is not one channel of real numbers in a known type.
    """
    suffix = path.suffix.lower()
    values = _load_array(path) if suffix == ".npy" else _decode(path)
    if values.ndim != 2 or not values.size:
        raise UserError(f"The anomaly map has shape {values.shape}, not (H, W): {path}. Save one channel.")
    if values.dtype in (np.uint8, np.uint16) and suffix != ".npy":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(f"The anomaly map is {values.dtype}, not floating point: {path}. Save it as float32.")
    return values


def _load_array(path: Path) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"Unreadable anomaly map: {path} ({error}). Save it again with numpy.save.") from error


def _decode(path: Path) -> NDArray:
    try:
        content = read_file(path, "anomaly map")
        header = check_header(content, path, "anomaly map")
        if header.pages > 1:
            raise UserError(f"The anomaly map has {header.pages} pages: {path}. Save one.")
        check_memory(header, path)
        values = decode_with_opencv(content, cv2.IMREAD_UNCHANGED)
        if values is not None:
            return values
        check_rescue(header, path, "anomaly map")
        if not header.mode:  # what OpenCV and Pillow leave out alike, float16 among it
            raise UserError(f"Unreadable anomaly map: {path} is a {header}. Save it as float32.")
        return np.asarray(load_with_pillow(content, path, "anomaly map"))
    except UnreadableError as error:
        raise UserError(f"Unreadable anomaly map: {path}: {error.why}. Write it again.") from error
