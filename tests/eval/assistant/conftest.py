"""Photos with red places, and an assistant whose model sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eval.assistant.assistant import Assistant
from eval.assistant.config import AppConfig
from eval.calibration.file import Calibration
from eval.calibration.make import Scores, make_calibration
from eval.inspection.inspector import Inspector
from tests.eval.assistant.redness import MakeAssistant, Redness, WritePhoto


@pytest.fixture
def write_photo(tmp_path: Path) -> WritePhoto:
    """Writes a grey photo with red rectangles; each is (strength, rows, columns)."""

    def write(name: str, *red: tuple[int, slice, slice], size: tuple[int, int] = (40, 60)) -> Path:
        pixels = np.full((*size, 3), 30, np.uint8)
        for strength, rows, columns in red:
            pixels[rows, columns, 2] = strength  # BGR
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        return path

    return write


@pytest.fixture
def make_assistant(tmp_path: Path) -> MakeAssistant:
    """An assistant that sees red; its source is `assistant.inspector.source`."""

    def make(*, calibration: Calibration | None = None, **settings: Any) -> Assistant:
        config = AppConfig(**{"run": "red", "judgements": str(tmp_path / "log"), "user": "ann", **settings})
        return Assistant(Inspector(Redness(tmp_path), config.inspection(), calibration=calibration), config)  # type: ignore[arg-type]

    return make


@pytest.fixture
def calibration() -> Calibration:
    """Of forty sound images whose scores lie between 0.1 and 0.49: a threshold of 0.48 at 5 %."""
    sound = Scores()
    for index in range(40):
        sound.add(0.1 + index / 100, 0.1 + index / 100)
    return make_calibration(sound, [], rate=0.05, model="red-1")
