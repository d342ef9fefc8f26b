"""The noise predictor of DDAD and its noise schedule, both diffusers'.

Two things make a small one quick to train on a CPU. It can see squares of pixels as single places, so that no layer
works at the image's full size. And it can give the noise as strong as it is in the image (`residual`): weak noise then
needs no large outputs, and an error counts as much as it changes the picture.

Shapes: images and noise (N, 3, S, S); steps (N,) or one for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from data.errors import UserError


@dataclass(kw_only=True, slots=True)
class DenoiserConfig:
    """A noise predictor.

    Attributes:
        channels: Channels of the UNet's levels; each halves the side of the one before.
        layers: Residual blocks a level.
        attention: The last level attends to itself.
        patch: Side of the squares of pixels that are one place of the first level; 1 takes each pixel by itself.
        residual: Learn the noise as strong as it is in the image, instead of noise of unit strength.
        timesteps: Steps of the noise schedule (linear, as DDPM's).
    """

    channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    layers: int = 1
    attention: bool = False
    patch: int = 2
    residual: bool = True
    timesteps: int = 1000

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            UserError: If one is out of range.
        """
        if not self.channels or min(*self.channels, self.layers, self.patch, self.timesteps) < 1:
            raise UserError(
                f"A denoiser needs channels and sizes of at least 1, not channels={self.channels}, "
                f"layers={self.layers}, patch={self.patch}, timesteps={self.timesteps}."
            )

    @property
    def factor(self) -> int:
        """What the side of an image must be a multiple of."""
        return int(self.patch * 2 ** (len(self.channels) - 1))


class Denoiser(nn.Module):
    """Predicts the noise in a noisy image.

    Args:
        config: Sizes and switches.
        side: Side of the images, pixels.

    Raises:
        UserError: If diffusers is not installed.
    """

    strength: Tensor

    def __init__(self, config: DenoiserConfig, side: int) -> None:
        super().__init__()
        self.config = config
        plain = len(config.channels) - 1
        last = "Attn" if config.attention else ""
        unet_type, _ = _import_diffusers()
        self.unet = unet_type(
            sample_size=side // config.patch,
            in_channels=3 * config.patch**2,
            out_channels=3 * config.patch**2,
            block_out_channels=tuple(config.channels),
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D",) * plain + (f"{last}DownBlock2D",),
            up_block_types=(f"{last}UpBlock2D",) + ("UpBlock2D",) * plain,
            norm_num_groups=min(8, *config.channels),
        )
        kept = create_scheduler(config.timesteps).alphas_cumprod
        self.register_buffer("strength", (1 - kept).sqrt(), persistent=False)

    def forward(self, noisy: Tensor, step: Tensor) -> Tensor:
        """The noise at unit strength, (N, 3, S, S), of images at steps of the schedule."""
        squares = F.pixel_unshuffle(noisy, self.config.patch)
        noise: Tensor = F.pixel_shuffle(self.unet(squares, step).sample, self.config.patch)
        return noise / self.strength_at(step) if self.config.residual else noise

    def loss(self, noisy: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of the noise, a scalar; with `residual` as strong as it is in the images."""
        strength = self.strength_at(step) if self.config.residual else 1.0
        return (strength * (self(noisy, step) - noise)).square().mean()

    def strength_at(self, step: Tensor) -> Tensor:
        """Standard deviation of the noise in the images, (N, 1, 1, 1)."""
        return self.strength[step].view(-1, 1, 1, 1)


def create_scheduler(timesteps: int) -> Any:
    """The noise schedule and its DDIM steps.

    Raises:
        UserError: If diffusers is not installed.
    """
    _, scheduler_type = _import_diffusers()
    return scheduler_type(num_train_timesteps=timesteps, beta_schedule="linear", clip_sample=False)


def _import_diffusers() -> tuple[Any, Any]:
    try:
        from diffusers import DDIMScheduler, UNet2DModel  # slow to import
    except ImportError as error:
        raise UserError(
            f"DDAD needs diffusers: python -m pip install -r requirements.txt -c constraints.txt ({error})"
        ) from error
    return UNet2DModel, DDIMScheduler
