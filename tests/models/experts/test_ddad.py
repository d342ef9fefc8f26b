from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import UserError
from data.files import read_json, write_json
from data.sample import Sample
from models.experts.backbone import BackboneConfig
from models.experts.ddad import DDAD, DDADConfig, mean_of_worst
from models.experts.denoiser import DenoiserConfig
from models.experts.expert import Gate
from models.experts.load import load_expert

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")

IMAGES = [np.random.default_rng(index).integers(0, 256, (40, 56, 3), dtype=np.uint8) for index in range(3)]


@pytest.fixture
def config(tiny_backbone: BackboneConfig) -> DDADConfig:
    backbone = replace(tiny_backbone, image_size=32)
    denoiser = DenoiserConfig(channels=[8, 16], attention=True, patch=1)
    return DDADConfig(backbone=backbone, features=True, denoiser=denoiser, noise_to=200, steps=4, draws=3)


def sample(category: str) -> Sample:
    return Sample(id=f"d/{category}.png", dataset="d", category=category, split="test", image=Path("x.png"))


def make(config: DDADConfig) -> DDAD:
    torch.manual_seed(0)
    expert = DDAD(config)
    model = expert.new_model()
    model.denoiser.eval().requires_grad_(False)
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


def test_maps_of_one_batch_are_those_of_many(config: DDADConfig) -> None:
    """Each step brings in new noise, but the same for every image, in whatever batch it comes."""
    assert config.eta == 1
    together = make(replace(config, batch_size=9)).score("nut", IMAGES)
    apart = make(replace(config, batch_size=1)).score("nut", IMAGES)
    for (first, one), (second, other) in zip(together, apart, strict=True):
        assert np.allclose(first, second, atol=1e-4) and one == pytest.approx(other, abs=1e-4)


def test_a_perfect_noise_predictor_gives_the_image_back(config: DDADConfig) -> None:
    """With the true noise as prediction every step of DDIM is exact, and nothing is clipped."""
    expert = make(replace(config, eta=0.0))
    images = 1.5 * expert.prepare(IMAGES)
    noise = expert.noises[:, 0].repeat_interleave(len(images), 0)

    class Perfect(torch.nn.Module):
        def forward(self, current: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
            return noise

    remade = expert.reconstruct(Perfect(), images)
    assert remade.shape == (3, *images.shape)
    assert torch.allclose(remade, images.expand_as(remade), atol=1e-3)


def test_reconstruction_against_its_definition(config: DDADConfig) -> None:
    """Algorithm 1 of the paper, one draw at a time."""
    expert = make(config)
    denoiser, images = expert.models["nut"].denoiser, expert.prepare(IMAGES)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float32)
    kept = torch.cat([torch.ones(1), (1 - betas).cumprod(0)])  # index t + 1, so that the step after 0 keeps all
    steps = [150, 100, 50, 0]
    for draw in range(3):
        noises = expert.noises[draw]
        a = kept[steps[0] + 1]
        current = a.sqrt() * images + (1 - a).sqrt() * noises[0]
        for index, (step, after) in enumerate(zip(steps, [*steps[1:], -1], strict=True), 1):
            a, b = kept[step + 1], kept[after + 1]
            with torch.no_grad():
                predicted = denoiser(current, torch.tensor(step))
            pulled = a.sqrt() * images + (1 - a).sqrt() * predicted
            predicted = predicted - config.condition * (1 - a).sqrt() * (pulled - current)
            sigma = config.eta * ((1 - a / b) * (1 - b) / (1 - a)).sqrt()
            clean = (current - (1 - a).sqrt() * predicted) / a.sqrt()
            current = b.sqrt() * clean + (1 - b - sigma**2).sqrt() * predicted + sigma * noises[index]
        assert torch.allclose(expert.reconstruct(denoiser, images)[draw], current, atol=1e-3)


def test_distances_are_means_over_draws_and_channels(config: DDADConfig) -> None:
    expert = make(config)
    model, images = expert.models["nut"], expert.prepare(IMAGES)
    remade = expert.reconstruct(model.denoiser, images)
    pixel, feature = expert.distances(model, images)
    assert torch.allclose(pixel, sum((images - each).abs().mean(1) for each in remade) / 3, atol=1e-6)
    expected = torch.zeros_like(pixel)
    for each in remade:
        for stage, other in zip(
            model.features(expert.backbone.normalise(images)),
            model.features(expert.backbone.normalise(each)),
            strict=True,
        ):
            pooled = [
                torch.nn.functional.unfold(one, 3, padding=1).unflatten(1, (one.shape[1], 9)).mean(2)
                for one in (stage, other)
            ]
            cosine = torch.nn.functional.cosine_similarity(*pooled, dim=1).view(len(images), 1, *stage.shape[-2:])
            expected += (
                torch.nn.functional.interpolate(1 - cosine, size=(32, 32), mode="bilinear", align_corners=True)[:, 0]
                / 3
            )
    assert torch.allclose(feature, expected, atol=1e-5)


def test_the_condition_draws_the_result_towards_it(config: DDADConfig) -> None:
    images = make(config).prepare(IMAGES)
    distances = []
    for strength in (0.0, 3.0):
        expert = make(replace(config, condition=strength))
        distances.append(float((expert.reconstruct(expert.models["nut"].denoiser, images) - images).abs().mean()))
    assert distances[1] < distances[0]


def test_mean_of_worst() -> None:
    grid = np.arange(400, dtype=np.float32).reshape(20, 20)
    assert mean_of_worst(grid, 0.005) == 398.5
    assert mean_of_worst(grid, 0.0) == 399
    assert mean_of_worst(grid, 1.0) == grid.mean()


def test_without_features_no_backbone_is_needed(config: DDADConfig, tmp_path: Path) -> None:
    plain = replace(config, features=False, backbone=replace(config.backbone, weights="nowhere.pth"))
    expert = make(plain)
    assert not expert.distances(expert.models["nut"], expert.prepare(IMAGES))[1].any()
    expert.save(tmp_path, {"nut": ["d/1.png"]})
    assert (load_expert("ddad", str(tmp_path)).detect([sample("nut")], IMAGES[:1])[0].anomaly_map > 0).any()


def test_a_fit_of_an_earlier_version(config: DDADConfig, tmp_path: Path) -> None:
    make(config).save(tmp_path, {"nut": ["d/1.png"]})
    saved = read_json(tmp_path / "expert.json")
    del saved["config"]["denoiser"]  # which it had in other words
    saved["config"]["channels"] = [8, 16]
    write_json(tmp_path / "expert.json", saved)
    with pytest.raises(UserError, match="an earlier version of DDAD"):
        load_expert("ddad", str(tmp_path))


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
    "changes",
    [
        {"steps": 300},
        {"noise_to": 2000},
        {"denoiser": DenoiserConfig(channels=[8] * 5, patch=4)},
        {"condition": -1.0},
        {"draws": 0},
        {"worst_share": 1.1},
    ],
)
def test_bad_values(config: DDADConfig, changes: dict) -> None:
    with pytest.raises(UserError):
        replace(config, **changes)
