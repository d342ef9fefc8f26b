from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.masks import MaskFile
from data.sample import Sample
from models.experts.load import ExpertName, load_expert


def sample(defect: str | None, mask: Path | None) -> Sample:
    source = None if mask is None else MaskFile(mask)
    return Sample(id="d/i", dataset="d", category="c", split="test", image=Path("i.png"), defect=defect, mask=source)


def test_reads_the_masks(tmp_path: Path) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:4, 3:5] = 255
    assert cv2.imwrite(str(tmp_path / "m.png"), pixels)
    expert = load_expert(ExpertName.oracle, "")
    assert expert.sees_truth
    images = [np.zeros((6, 8, 3), np.uint8)] * 2
    bad, good = expert.detect([sample("hole", tmp_path / "m.png"), sample(None, None)], images)
    assert np.array_equal(bad.anomaly_map, pixels / 255)
    assert (bad.score, bad.is_normal) == (1.0, False)
    assert np.array_equal(bad.anomaly_map >= bad.gate.pixel, pixels > 0)
    assert (good.score, good.is_normal, good.anomaly_map.max()) == (0.0, True, 0.0)


def test_an_anomaly_without_a_mask(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without its mask"):
        load_expert(ExpertName.oracle, "").detect([sample("hole", None)], [np.zeros((6, 8, 3), np.uint8)])
