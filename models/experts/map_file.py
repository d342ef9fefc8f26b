"""One anomaly map on disk: `.npy`, `.tiff`, `.tif` or `.png`, one channel, higher is worse.

Floating-point files are taken as they are. An 8-bit PNG or TIFF is divided by 255, a 16-bit one by 65535, so that
both mean 0..1; nothing is stretched per image, which would make scores of different images incomparable.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

SUFFIXES = (".npy", ".tiff", ".tif", ".png")


def read_map(path: Path) -> NDArray[np.floating]:
    """Decodes a map: (H, W) float16, float32 or float64.

    Raises:
        UserError: If the file does not decode, or is not one channel of real numbers in a known type.
    """
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"Unreadable anomaly map: {path} ({error}). Save it again with numpy.save.") from error
    else:
        stored = np.fromfile(path, np.uint8)
        decoded = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if stored.size else None
        if decoded is None:
            raise UserError(f"Unreadable anomaly map: {path} does not decode. Write it again.")
        values = decoded
    if values.ndim != 2 or not values.size:
        raise UserError(f"The anomaly map has shape {values.shape}, not (H, W): {path}. Save one channel.")
    if values.dtype in (np.uint8, np.uint16) and path.suffix.lower() != ".npy":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(f"The anomaly map is {values.dtype}, not floating point: {path}. Save it as float32.")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
