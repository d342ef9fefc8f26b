"""Photos, masks and judgements for the tests."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from eval.judgements.judgement import Finding, JudgedRegion, Judgement
from eval.judgements.log import hash_photo


def photo(seed: int = 0, *, suffix: str = ".png", size: tuple[int, int] = (40, 60)) -> bytes:
    """A photo of grey noise, as a file's bytes."""
    pixels = np.random.default_rng(seed).integers(60, 120, (*size, 3), dtype=np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def square(left: int = 30, top: int = 10, side: int = 8, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def region(name: str = "", left: int = 30, top: int = 10, side: int = 8, *, stands: bool = True) -> JudgedRegion:
    return JudgedRegion(name=name, box=(left, top, left + side, top + side), area=side * side, stands=stands)


def judged(image: bytes, finding: Finding = Finding.accepted, **values: Any) -> Judgement:
    plain: dict[str, Any] = {"photo": "a.png", "model": "m1", "user": "ann", "time": "2026-01-31T12:00:00Z"}
    plain |= {"score": 0.7, "verdict": "defect", "category": "gear"}
    return Judgement(image_hash=hash_photo(image), finding=finding, **{**plain, **values})
