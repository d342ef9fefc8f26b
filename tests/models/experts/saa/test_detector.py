import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from models.experts.saa.detector import Detector
from models.experts.saa.expert import SAAConfig

CPU = torch.device("cpu")
TEXTS = ["defect on nut", "dark crack", "a long scratch"]


@pytest.fixture
def detector(tiny_saa: SAAConfig) -> Detector:
    return Detector(tiny_saa.dino, CPU)


def test_texts_together_and_alone(detector: Detector, images: list[np.ndarray]) -> None:
    """Boxes of a text do not depend on which texts share its pass."""
    together = detector.find(images[0], TEXTS)
    alone = [detector.find(images[0], [text]) for text in TEXTS]
    assert len(together) > 0 and len(together) == sum(map(len, alone))
    assert together.phrases == tuple(phrase for found in alone for phrase in found.phrases)
    assert torch.allclose(together.boxes, torch.cat([found.boxes for found in alone]), atol=1e-5)
    assert torch.allclose(together.scores, torch.cat([found.scores for found in alone]), atol=1e-5)
    small = Detector(replace(detector.config, batch_size=2), CPU).find(images[0], TEXTS)
    assert torch.allclose(together.boxes, small.boxes, atol=1e-5)


def test_boxes_are_shares_and_depend_on_the_image(detector: Detector, images: list[np.ndarray]) -> None:
    first, second = (detector.find(image, TEXTS[:1]) for image in images[:2])
    assert float(first.areas.min()) >= 0 and float(first.areas.max()) <= 1.01
    assert not (first.boxes.shape == second.boxes.shape and torch.allclose(first.boxes, second.boxes))
    assert len(detector.find(images[0], [])) == 0


def test_thresholds(detector: Detector, images: list[np.ndarray]) -> None:
    found = detector.find(images[0], TEXTS[:1])
    middle = float(found.scores.median())
    strict = Detector(replace(detector.config, box_threshold=middle), CPU).find(images[0], TEXTS[:1])
    assert len(strict) == int((found.scores > middle).sum())
    wordless = Detector(replace(detector.config, text_threshold=1.0), CPU).find(images[0], TEXTS[:1])
    assert set(wordless.phrases) == {""} and any(found.phrases)


def test_bad_checkpoints(tiny_saa: SAAConfig, tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            Detector(replace(tiny_saa.dino, path=str(path)), CPU)

    refused(tmp_path / "none", "No checkpoint at")
    refused(tmp_path, "no config.json")
    copy = tmp_path / "copy"
    shutil.copytree(tiny_saa.dino.path, copy)
    (copy / "model.safetensors").unlink()
    refused(copy, "No weights in")
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "swin"}))
    refused(copy, "is a 'swin', not a GroundingDINO")


def test_a_checkpoint_that_lacks_tensors(tiny_saa: SAAConfig, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(tiny_saa.dino.path, copy)
    weights = load_file(copy / "model.safetensors")
    del weights[next(name for name in weights if "text_backbone" in name)]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 tensors"):
        Detector(replace(tiny_saa.dino, path=str(copy)), CPU)
