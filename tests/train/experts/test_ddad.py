import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.sample import Sample, load_image
from models.experts.backbone import BackboneConfig
from models.experts.ddad import DDAD, DDADConfig
from models.experts.denoiser import DenoiserConfig
from train.experts.ddad import DDADTrainConfig, _difference, rate_at, train_ddad

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")
timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")


@pytest.fixture
def expert(tmp_path: Path) -> DDAD:
    torch.manual_seed(0)
    path = tmp_path / "backbone.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    backbone = BackboneConfig(name="test_resnet", weights=str(path), layers=[1], image_size=32)
    denoiser = DenoiserConfig(channels=[16, 32], patch=1)
    return DDAD(
        DDADConfig(backbone=backbone, features=True, denoiser=denoiser, noise_to=250, steps=5, draws=2, blur=1.0)
    )


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
        DDADTrainConfig(steps=80, batch_size=4, adaptation_steps=2),
    )
    normal = cv2.imread(str(samples[0].image))
    broken = normal.copy()
    broken[10:20, 10:20] = (0, 255, 0)
    (_, good), (anomaly_map, bad) = expert.score("stripes", [normal, broken])
    assert bad > good
    assert anomaly_map[12:18, 12:18].mean() > 1.5 * anomaly_map[24:, 24:].mean()
    assert "step 80 of 80" in caplog.text and "adapted in 2 steps" in caplog.text


def test_same_seed_same_model(expert: DDAD, samples: list[Sample]) -> None:
    config = DDADTrainConfig(steps=2, batch_size=2, adaptation_steps=1)
    weights = []
    for _ in range(2):
        train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], config)
        weights.append(next(iter(expert.models["stripes"].denoiser.state_dict().values())).clone())
    assert torch.equal(*weights)
    before = next(iter(expert.backbone.model.state_dict().values()))
    after = next(iter(expert.models["stripes"].features.state_dict().values()))
    assert not torch.equal(before, after)  # the copy was adapted, the backbone was not


def test_only_noise_levels_of_a_reconstruction_are_learnt(
    expert: DDAD, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    add_noise = expert.scheduler.add_noise
    monkeypatch.setattr(
        expert.scheduler,
        "add_noise",
        lambda images, noise, at: seen.extend(at.tolist()) or add_noise(images, noise, at),
    )
    model_steps = DDADTrainConfig(steps=20, adaptation_steps=0)
    train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], model_steps)
    learnt = seen[: 20 * 4]
    assert max(learnt) < expert.config.noise_to and max(learnt) > 200 and min(learnt) < 50


def test_the_average_of_the_weights_is_kept(expert: DDAD, samples: list[Sample]) -> None:
    """Without an average the last weights; with one they differ, and are nearer to the first ones."""
    images = [load_image(sample.image) for sample in samples]
    found = {}
    for average in (0.0, 0.995):
        train_ddad(expert, "stripes", images, DDADTrainConfig(steps=5, adaptation_steps=0, average=average))
        found[average] = torch.cat(
            [value.flatten() for value in expert.models["stripes"].denoiser.state_dict().values()]
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = torch.cat([value.flatten() for value in expert.new_model().denoiser.state_dict().values()])
    assert 0 < (found[0.995] - first).norm() < (found[0.0] - first).norm()
    assert not any(value.requires_grad for value in expert.models["stripes"].denoiser.parameters())


def test_the_rate_rises_and_falls() -> None:
    config = DDADTrainConfig(steps=100, warmup=0.1)
    rates = [rate_at(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == 1 and rates[100] == pytest.approx(0, abs=1e-9)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rate_at(0, DDADTrainConfig(steps=10, warmup=0.0)) == 1


def test_batch_norms_adapt_and_stay_still_afterwards(expert: DDAD, samples: list[Sample]) -> None:
    images = [load_image(sample.image) for sample in samples]
    train_ddad(expert, "stripes", images, DDADTrainConfig(steps=1, adaptation_steps=2, batch_size=2))
    features, before = expert.models["stripes"].features, expert.backbone.model.state_dict()
    name = next(name for name in before if name.endswith("running_mean"))
    assert not torch.equal(features.state_dict()[name], before[name]) and not features.training


def test_features_are_compared_as_one_vector() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    flat = torch.nn.functional.cosine_similarity(first.reshape(2, -1), second.reshape(2, -1))
    assert torch.allclose(_difference([first, first], [second, first]), (1 - flat).mean(), atol=1e-6)


def test_bad_values(expert: DDAD, samples: list[Sample]) -> None:
    with pytest.raises(UserError, match="steps ≥ 1"):
        train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], DDADTrainConfig(steps=0))
    with pytest.raises(UserError, match=r"in \[0, 1\), not average=1.0, beta2=1.0"):
        config = DDADTrainConfig(average=1.0, beta2=1.0)
        train_ddad(expert, "stripes", [load_image(sample.image) for sample in samples], config)


def test_the_optimizer_forgets_as_it_is_told(
    expert: DDAD, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = torch.optim.AdamW

    def note(*values: Any, **settings: Any) -> torch.optim.AdamW:
        asked.append(settings["betas"])
        return real(*values, **settings)

    monkeypatch.setattr("torch.optim.AdamW", note)
    images = [load_image(sample.image) for sample in samples]
    train_ddad(expert, "stripes", images, DDADTrainConfig(steps=1, adaptation_steps=0, beta2=0.9))
    assert asked == [(0.9, 0.9)]
