from dataclasses import replace

import pytest
import torch

from data.errors import UserError
from models.experts.denoiser import Denoiser, DenoiserConfig, create_scheduler

pytest.importorskip("diffusers", reason="diffusers is not installed: pip install -r requirements.txt")

CONFIG = DenoiserConfig(channels=[8, 16], patch=1, residual=False)
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
STEPS = torch.tensor([3, 200])


def make(config: DenoiserConfig) -> Denoiser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(config, 16).eval().requires_grad_(False)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("patch", [1, 2])
def test_the_noise_has_the_size_of_the_image(patch: int, attention: bool) -> None:
    denoiser = make(replace(CONFIG, patch=patch, attention=attention))
    noise = denoiser(IMAGES, STEPS)
    assert noise.shape == IMAGES.shape and noise.isfinite().all()
    assert torch.allclose(denoiser(IMAGES[1:], torch.tensor(200)), noise[1:], atol=1e-5)  # one step for all
    assert any("attentions" in name for name, _ in denoiser.named_parameters() if "mid_block" not in name) is attention


def test_a_patch_is_one_place_of_the_unet() -> None:
    """The UNet sees (N, 3 · 2², S / 2, S / 2), and each square of pixels comes back where it was."""
    denoiser = make(replace(CONFIG, patch=2))
    seen = []

    class Echo(torch.nn.Module):
        def forward(self, squares: torch.Tensor, step: torch.Tensor) -> object:
            seen.append(squares)
            return type("Output", (), {"sample": squares})()

    denoiser.unet = Echo()
    assert torch.equal(denoiser(IMAGES, STEPS), IMAGES)
    assert seen[0].shape == (2, 12, 8, 8)
    assert torch.equal(seen[0][0, :4, 0, 0], IMAGES[0, 0, :2, :2].flatten())


def test_residual_gives_the_noise_as_strong_as_it_is() -> None:
    """Same weights: what comes out of the UNet is the noise times its strength, and so is the error that is learnt."""
    unit, residual = make(CONFIG), make(replace(CONFIG, residual=True))
    strength = (1 - create_scheduler(1000).alphas_cumprod[STEPS]).sqrt().view(2, 1, 1, 1)
    assert torch.allclose(residual(IMAGES, STEPS) * strength, unit(IMAGES, STEPS), atol=1e-5)
    noise = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(unit.loss(IMAGES, STEPS, noise), (unit(IMAGES, STEPS) - noise).square().mean())
    expected = (unit(IMAGES, STEPS) - strength * noise).square().mean()
    assert torch.allclose(residual.loss(IMAGES, STEPS, noise), expected, rtol=1e-4)


def test_only_weights_are_saved() -> None:
    assert all(name.startswith("unet.") for name in make(CONFIG).state_dict())


def test_the_schedule_is_the_linear_one() -> None:
    betas = torch.linspace(1e-4, 0.02, 50)
    assert torch.allclose(create_scheduler(50).alphas_cumprod, (1 - betas).cumprod(0))


@pytest.mark.parametrize("changes", [{"channels": []}, {"channels": [8, 0]}, {"patch": 0}, {"layers": 0}])
def test_bad_values(changes: dict) -> None:
    with pytest.raises(UserError, match="at least 1"):
        replace(CONFIG, **changes)


def test_what_the_side_of_an_image_must_be_a_multiple_of() -> None:
    assert replace(CONFIG, channels=[8, 8, 8], patch=2).factor == 8
