import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.sample import Sample, load_image
from models.experts.backbone import BackboneConfig
from models.experts.ddad import DDAD, DDADConfig
from train.experts.ddad import DDADTrainConfig, train_ddad

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")
timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")


@pytest.fixture
def expert(tmp_path: Path) -> DDAD:
    torch.manual_seed(0)
    path = tmp_path / "backbone.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    backbone = BackboneConfig(name="test_resnet", weights=str(path), layers=[1], image_size=32)
    return DDAD(DDADConfig(backbone=backbone, channels=[16, 32], noise_to=250, steps=5, blur=1.0))


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Stripes that always run the same way."""
    found = []
    for index in range(6):
        image = np.full((32, 32, 3), 60, np.uint8)
        image[:, index % 4 :: 4] = 180
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
        path = tmp_path / f"{index}.png"
        found.append(Sample(id=f"d/{index}", dataset="d", category="stripes", split="train", image=path))
    return found


def test_training_learns_what_is_normal(expert: DDAD, samples: list[Sample], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    train_ddad(
        expert,
        "stripes",
        [load_image(sample.image) for sample in samples],
        DDADTrainConfig(steps=60, batch_size=4, adaptation_steps=2),
    )
    normal = cv2.imread(str(samples[0].image))
    broken = normal.copy()
    broken[10:20, 10:20] = (0, 255, 0)
    (_, good), (anomaly_map, bad) = expert.score("stripes", [normal, broken])
    assert bad > good
    assert anomaly_map[12:18, 12:18].mean() > 2 * anomaly_map[24:, 24:].mean()
    assert "step 60 of 60" in caplog.text and "adapted in 2 steps" in caplog.text


def test_same_seed_same_model(expert: DDAD, samples: list[Sample]) -> None:
    config = DDADTrainConfig(steps=2, batch_size=2, adaptation_steps=1)
    weights = []
    for _ in range(2):
        train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], config)
        weights.append(next(iter(expert.models["stripes"].unet.state_dict().values())).clone())
    assert torch.equal(*weights)
    before = next(iter(expert.backbone.model.state_dict().values()))
    after = next(iter(expert.models["stripes"].features.state_dict().values()))
    assert not torch.equal(before, after)  # the copy was adapted, the backbone was not


def test_bad_values(expert: DDAD, samples: list[Sample]) -> None:
    with pytest.raises(UserError, match="steps ≥ 1"):
        train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], DDADTrainConfig(steps=0))
