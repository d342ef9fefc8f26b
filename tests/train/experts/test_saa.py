"""Of SAA+ only the gate is fitted."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.experts.expert import MapArray
from models.experts.saa.expert import SAA
from train.experts.fit import FitExpertConfig, fit_expert


def test_only_the_gate_is_fitted(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its models, which would have to be loaded, stand aside: each photo is as anomalous as it is bright."""

    def start(self: SAA, config: object) -> None:
        self.config, self.gates = config, {}

    def score(self: SAA, category: str, images: list[np.ndarray]) -> list[tuple[MapArray, float]]:
        return [(image.mean(2).astype(np.float32), float(image.mean())) for image in images]

    monkeypatch.setattr(SAA, "__init__", start)
    monkeypatch.setattr(SAA, "score", score)
    monkeypatch.setattr(SAA, "weights_hash", "hash")
    out = tmp_path / "expert"
    fit_expert(
        FitExpertConfig(expert="saa_plus", dataset="mvtec_ad", data_root=str(write_mvtec(normals=6)), out=str(out))
    )
    gate, saved = (json.loads((out / name).read_text()) for name in ("gate.json", "expert.json"))
    assert saved["expert"] == "saa_plus" and saved["config"]["weights_hash"] == "hash"
    assert saved["config"]["dino"]["box_threshold"] == 0.1 and len(saved["fitted"]["washer"]) == 6
    assert 0 < gate["washer"]["score"] < 255
