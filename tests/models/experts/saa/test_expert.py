import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data.errors import UserError
from data.files import read_json, write_json
from data.sample import Sample
from models.device import DeviceConfig
from models.experts.backbone import BackboneConfig
from models.experts.expert import Gate
from models.experts.load import load_expert
from models.experts.saa.detector import DetectorConfig
from models.experts.saa.expert import SAA, SAAConfig
from models.experts.saa.properties import ClassProperties
from models.experts.saa.regions import keep_defects, keep_objects
from models.mdlm.sam import Sam, SamConfig

ONE = ClassProperties(objects=1, boxes=4, area=1.0, phrases=["dark crack"])
SEVERAL = replace(ONE, objects=3)


@pytest.fixture
def expert(tiny_saa: SAAConfig) -> SAA:
    return SAA(replace(tiny_saa, classes={"gear": ONE, "gears": SEVERAL}))


@pytest.mark.parametrize("category", ["gear", "gears"])
def test_maps(expert: SAA, images: list[np.ndarray], category: str) -> None:
    """Finite, of the image's size, dependent on the image, and the same in any company."""
    together = expert.score(category, images)
    alone = [expert.score(category, [image])[0] for image in images]
    for image, (anomaly_map, score), (again, score_again) in zip(images, together, alone, strict=True):
        assert anomaly_map.shape == image.shape[:2] and anomaly_map.dtype == np.float32
        assert np.isfinite(anomaly_map).all() and anomaly_map.max() > anomaly_map.min() >= 0
        assert (anomaly_map == again).all() and score == score_again
        assert score == cv2.resize(anomaly_map, (400, 400)).max() > 0
    turned = expert.score(category, [images[2][::-1].copy()])[0][0]
    assert not np.allclose(turned, together[2][0])


def test_the_map_from_its_parts(expert: SAA, images: list[np.ndarray]) -> None:
    """Every step by hand, on an image with one object."""
    image = images[0]
    objects = keep_objects(expert.detector.find(image, ["gear"]), 1)
    found = expert.detector.find(image, ["defect on gear", "damage on gear", "flaw on gear", "dark crack"])
    defects = keep_defects(found, objects, 1.0, "gear")
    masks = list(expert.segmenter.segment(image, expert.segmenter.embed(image), defects.boxes))
    saliency = expert._saliency(image, expert.segmenter.embed(image), objects, 1)
    scores = [
        score * np.exp(3 * saliency[mask].mean()) if mask.any() else score
        for score, mask in zip(defects.scores.tolist(), masks, strict=True)
    ]
    best = np.argsort(-np.array(scores), kind="stable")[:4]
    expected = sum(masks[index] * scores[index] for index in best) / (1 + sum(masks[index] * 1.0 for index in best))
    assert len(defects) > 4 and np.allclose(expert.score("gear", [image])[0][0], expected, atol=1e-6)


def test_nothing_found(tiny_saa: SAAConfig, images: list[np.ndarray]) -> None:
    strict = replace(tiny_saa, dino=replace(tiny_saa.dino, box_threshold=1.0), classes={"gear": ONE})
    anomaly_map, score = SAA(strict).score("gear", images[:1])[0]
    assert not anomaly_map.any() and score == 0


def test_whatever_is_found_counts_without_a_gate(expert: SAA, tiny_saa: SAAConfig, images: list[np.ndarray]) -> None:
    sample = Sample(id="d/x.png", dataset="d", category="gear", split="test", image=Path("x.png"))
    blind = SAA(replace(tiny_saa, dino=replace(tiny_saa.dino, box_threshold=1.0), classes={"gear": ONE}))
    assert not expert.detect([sample], images[:1])[0].is_normal
    assert blind.detect([sample], images[:1])[0].is_normal
    assert "not blind" in expert.setting


def test_the_hash_changes_with_any_weights(expert: SAA, tiny_saa: SAAConfig, tmp_path: Path) -> None:
    weights = load_file(tiny_saa.sam.checkpoint or "")
    weights["image_encoder.pos_embed"] += 1
    save_file(weights, tmp_path / "sam.safetensors")
    other = SAA(replace(tiny_saa, sam=replace(tiny_saa.sam, checkpoint=str(tmp_path / "sam.safetensors"))))
    assert expert.weights_hash == SAA(tiny_saa).weights_hash != other.weights_hash


def test_classes_without_properties(expert: SAA, tiny_saa: SAAConfig) -> None:
    expert.check(["gear", "gears", "carpet"])
    with pytest.raises(UserError, match="nothing about 'nut'"):
        expert.check(["gear", "nut"])
    SAA(replace(tiny_saa, default=ONE)).check(["nut"])


def test_save_and_load(expert: SAA, images: list[np.ndarray], tmp_path: Path) -> None:
    expert.gates["gear"] = Gate(0.3, 0.2)
    expert.save(tmp_path, {"gear": ["d/1.png"]})
    loaded = load_expert("saa_plus", str(tmp_path), where=DeviceConfig(device="cpu"))
    sample = Sample(id="d/x.png", dataset="d", category="gear", split="test", image=Path("x.png"))
    first, second = (one.detect([sample], images[:1])[0] for one in (expert, loaded))
    assert (first.anomaly_map == second.anomaly_map).all() and second.gate == Gate(0.3, 0.2)
    values = read_json(tmp_path / "expert.json")
    values["config"]["weights_hash"] = "another"
    write_json(tmp_path / "expert.json", values)
    with pytest.raises(UserError, match="other weights"):
        load_expert("saa_plus", str(tmp_path))


def test_missing_checkpoints(tiny_saa: SAAConfig) -> None:
    with pytest.raises(UserError, match=r"No SAM checkpoint at nowhere.*set saa.sam.checkpoint"):
        SAA(replace(tiny_saa, sam=replace(tiny_saa.sam, checkpoint="nowhere.pth")))
    with pytest.raises(UserError, match="No backbone weights at nowhere"):
        SAA(replace(tiny_saa, backbone=replace(tiny_saa.backbone, weights="nowhere.safetensors")))


@pytest.mark.slow
def test_true_sizes(make_detector: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random weights: GroundingDINO with Swin-T (20 boxes: 900 take minutes), SAM ViT-B and Wide-ResNet-50-2."""
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    swin = {
        "model_type": "swin",
        "embed_dim": 96,
        "depths": [2, 2, 6, 2],
        "num_heads": [3, 6, 12, 24],
        "window_size": 7,
        "image_size": 224,
        "out_indices": [2, 3, 4],
    }
    dino = make_detector(tmp_path / "dino", backbone_config=swin, num_queries=20)
    torch.manual_seed(0)
    sam = SamConfig(
        checkpoint=str(tmp_path / "sam.safetensors"), width=768, depth=12, heads=12, global_layers=[2, 5, 8, 11]
    )
    save_file(Sam(sam).state_dict(), tmp_path / "sam.safetensors")
    backbone = tmp_path / "wide_resnet50_2.safetensors"
    save_file(timm.create_model("wide_resnet50_2", pretrained=False).state_dict(), backbone)
    features = BackboneConfig(name="wide_resnet50_2", weights=str(backbone), layers=[1, 2, 3], pool=1)
    expert = SAA(
        SAAConfig(dino=DetectorConfig(path=str(dino)), sam=sam, backbone=features, classes={"nut": ONE}, device="cpu")
    )
    images = list(np.random.default_rng(0).integers(0, 256, (2, 400, 400, 3), dtype=np.uint8))
    started = time.monotonic()
    (first, one), (second, other) = expert.score("nut", images)
    with capsys.disabled():
        print(f"\nSAA+ at true sizes (SAM ViT-B): {(time.monotonic() - started) / 2:.1f} s an image")
    assert np.isfinite(first).all() and first.shape == (400, 400) and one > 0
    assert first.max() > 0 and not np.allclose(first, second) and one != other
