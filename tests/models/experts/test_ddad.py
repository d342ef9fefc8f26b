from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.sample import Sample
from models.experts.backbone import BackboneConfig
from models.experts.ddad import DDAD, DDADConfig
from models.experts.expert import Gate
from models.experts.load import load_expert

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")

IMAGES = [np.random.default_rng(index).integers(0, 256, (40, 56, 3), dtype=np.uint8) for index in range(3)]


@pytest.fixture
def config(tiny_backbone: BackboneConfig) -> DDADConfig:
    return DDADConfig(backbone=replace(tiny_backbone, image_size=32), channels=[8, 16], noise_to=200, steps=4)


def sample(category: str) -> Sample:
    return Sample(id=f"d/{category}.png", dataset="d", category=category, split="test", image=Path("x.png"))


def make(config: DDADConfig) -> DDAD:
    torch.manual_seed(0)
    expert = DDAD(config)
    model = expert.new_model()
    model.unet.eval()
    expert.models["nut"] = model
    expert.gates["nut"] = Gate(1.0, 0.5)
    return expert


def test_maps(config: DDADConfig) -> None:
    expert = make(config)
    together = expert.score("nut", IMAGES)
    alone = expert.score("nut", IMAGES[2:])
    assert [found[0].shape for found in together] == [(40, 56)] * 3
    assert np.isfinite(together[0][0]).all() and together[0][0].dtype == np.float32
    assert np.allclose(alone[0][0], together[2][0], atol=1e-4)  # a map does not depend on its batch


def test_a_perfect_noise_predictor_gives_the_image_back(config: DDADConfig) -> None:
    """With the true noise as prediction every step of DDIM is exact."""
    expert = make(config)
    images = expert.prepare(IMAGES)
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(images.shape[1:], generator=generator)[None].expand_as(images)

    class Perfect(torch.nn.Module):
        def forward(self, current: torch.Tensor, step: torch.Tensor) -> object:
            return type("Output", (), {"sample": noise})()

    assert torch.allclose(expert.reconstruct(Perfect(), images), images, atol=1e-3)


def test_the_condition_draws_the_result_towards_it(config: DDADConfig) -> None:
    images = make(config).prepare(IMAGES)
    distances = []
    for strength in (0.0, 3.0):
        expert = make(replace(config, condition=strength))
        distances.append(float((expert.reconstruct(expert.models["nut"].unet, images) - images).abs().mean()))
    assert distances[1] < distances[0]


def test_save_and_load(config: DDADConfig, tmp_path: Path) -> None:
    expert = make(config)
    expert.save(tmp_path, {"nut": ["d/1.png"]})
    loaded = load_expert("ddad", str(tmp_path))
    first, second = (one.detect([sample("nut")], IMAGES[:1])[0] for one in (expert, loaded))
    assert (first.anomaly_map == second.anomaly_map).all() and first.score == second.score
    with pytest.raises(UserError, match="no fitted model for ring"):
        loaded.check(["nut", "ring"])
    with pytest.raises(UserError, match="holds the expert 'ddad'"):
        load_expert("patchcore", str(tmp_path))
    (tmp_path / "nut" / "ddad.safetensors").unlink()
    with pytest.raises(UserError, match="No diffusion model of 'nut'"):
        load_expert("ddad", str(tmp_path))


@pytest.mark.parametrize(
    "changes", [{"steps": 300}, {"noise_to": 2000}, {"channels": [8] * 7}, {"condition": -1.0}, {"channels": []}]
)
def test_bad_values(config: DDADConfig, changes: dict) -> None:
    with pytest.raises(UserError):
        replace(config, **changes)
