"""AnoCLIP: patches from a path of values through every block, judged by 924 texts ("AnoVL", zero-shot localization).

Followed: the two paths (`Clip.run_two_paths`) in all blocks; 462 texts a state, mean of raw features; softmax over two
cosines without temperature; 3 × 3 mean with replicated border; bilinear with aligned corners; the image score is the
class token's, averaged over 22 views. With `adapt` each image trains a small adapter of its own (their "+").

As the authors' public code has it, where the paper leaves it open: rotations by multiples of 11.25° and shifts along
the diagonals by a tenth and a twentieth of the side, with reflected border; the class token's cosines are softmaxed
without temperature, too; features keep their length in the adapter's sum, and the noise is added to them so; the 924
texts that the adapter adds have length 1; it starts as torch starts a linear layer, and AdamW's decay is torch's 0.01.

Deliberately different from that code: AdamW's moments, the adapter and the noise start anew for each image, so that no
result depends on the order of images; an underscore in a product's name is read as a space; images are resized
bicubically; the third domain of textures is "surface photo", as in the paper (the code says "surface picture").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.experts.clip.backbone import Clip
from models.experts.clip.expert import ClipExpert, TextPair, damaged
from models.experts.clip.words import Texts, anoclip_texts
from models.experts.expert import MapArray

ANGLES = (-45.0, -33.75, -22.5, -11.25, 11.25, 22.5, 33.75, 45.0)  # degrees
SHIFTS = [(far * down, far * right) for far in (0.2, 0.1) for down in (-1, 1) for right in (-1, 1)]  # of half a side
GREY = (0.299, 0.587, 0.114)


@dataclass(kw_only=True, slots=True)
class AnoClipConfig:
    """How AnoCLIP looks.

    Attributes:
        views: Whether the image score is the mean over 22 views, else of the image alone.
        adapt: Whether each image trains its adapter first.
        steps: Steps of that training.
        rate: Its learning rate.
        noise: Standard deviation of the noise on projected features.
        seed: Of the adapter's weights and the noise.
    """

    views: bool = True
    adapt: bool = False
    steps: int = 5
    rate: float = 1e-3
    noise: float = 0.055
    seed: int = 0


class AnoClip(ClipExpert):
    """AnoCLIP, with or without test-time adaptation.

    Args:
        clip: What it sees with.
        config: Views and adaptation.
    """

    name = "anoclip"
    manner = "AnoCLIP: 462 texts of its paper a state, 22 views, zero-shot."

    def __init__(self, clip: Clip, config: AnoClipConfig) -> None:
        super().__init__(clip)
        self.config = config
        self._encoded: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def setting(self) -> str:
        """See `ClipExpert.setting`."""
        return f"{super().setting} {'With' if self.config.adapt else 'Without'} adaptation to each image."

    def texts(self, category: str) -> Texts:
        """462 texts a state."""
        return anoclip_texts(category)

    def pair(self, category: str) -> TextPair:
        """See `ClipExpert.pair`."""
        if category not in self._pairs:
            normal, abnormal = self._encode(category)
            self._pairs[category] = TextPair(self.average(normal), self.average(abnormal))
        return self._pairs[category]

    @torch.inference_mode()
    def look(self, category: str, batch: Tensor) -> tuple[Tensor, Tensor]:
        """See `ClipExpert.look`; maps have the grid of patches."""
        clip, pair = self.clip, self.pair(category)
        original, values = clip.run_two_paths(clip.tokens(batch), len(clip.blocks))
        patches = clip.project(clip.normalise(values[:, 1:]))
        if self.config.adapt:
            prompts = self._all_prompts(category)
            patches = torch.stack([adapt(image, prompts, pair, self.config) for image in patches])
        grid = damaged(patches, pair, 1.0).unflatten(1, clip.grid)
        smooth = F.avg_pool2d(F.pad(grid[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[:, 0]
        if not self.config.views:
            return smooth, damaged(clip.project(clip.normalise(original[:, 0])), pair, 1.0)
        scores = torch.stack([self._whole(view, pair) for view in views(batch)])
        return smooth, scores.mean(0)

    def enlarge(self, grid: Tensor, size: tuple[int, int]) -> MapArray:
        """A map of the image's size, bilinear with aligned corners."""
        grown = F.interpolate(grid[None, None].float(), size, mode="bilinear", align_corners=True)
        return np.asarray(grown[0, 0].cpu().numpy(), np.float32)

    def _whole(self, batch: Tensor, pair: TextPair) -> Tensor:
        after = self.clip.run(self.clip.tokens(batch))
        return damaged(self.clip.project(self.clip.normalise(after[:, 0])), pair, 1.0)

    def _all_prompts(self, category: str) -> Tensor:
        """Features of all texts of both states, length 1, (924, D)."""
        return F.normalize(torch.cat(self._encode(category)), dim=1)

    def _encode(self, category: str) -> tuple[Tensor, Tensor]:
        """Raw features of the texts of each state, encoded once: the directions and the adapter need the same."""
        if category not in self._encoded:
            texts = self.texts(category)
            self._encoded[category] = self.clip.encode_texts(texts.normal), self.clip.encode_texts(texts.abnormal)
        return self._encoded[category]


def adapt(patches: Tensor, prompts: Tensor, pair: TextPair, config: AnoClipConfig) -> Tensor:
    """One image's patches after its own adapter was trained on them, (P, D) → (P, D).

    The adapter adds what its weights over the prompts say: ½ x + ½ tanh(W x̂ + b) T, x̂ being x at length 1. Its loss
    wants clean patches to be decided (small entropy), noisy ones to be damaged and clean ones sound.

    Args:
        patches: Projected, of any length, (P, D).
        prompts: All texts, length 1, (T, D).
        pair: The two directions.
        config: Steps, rate, noise and seed.
    """
    with torch.inference_mode(False), torch.enable_grad():
        patches, prompts, texts = patches.clone(), prompts.clone(), pair.stacked.clone()
        generator = torch.Generator().manual_seed(config.seed)
        bound = patches.shape[1] ** -0.5  # as torch starts a linear layer
        weight = nn.Parameter(_uniform((len(prompts), patches.shape[1]), bound, generator).to(patches))
        bias = nn.Parameter(_uniform((len(prompts),), bound, generator).to(patches))
        optimizer = torch.optim.AdamW([weight, bias], lr=config.rate)

        def adapted(features: Tensor) -> Tensor:
            return features / 2 + torch.tanh(F.linear(F.normalize(features, dim=1), weight, bias)) @ prompts / 2

        def log_shares(features: Tensor) -> Tensor:  # (P, 2)
            return (F.normalize(adapted(features), dim=1) @ texts.T).log_softmax(1)

        for _ in range(config.steps):
            noise = torch.randn(patches.shape, generator=generator).to(patches) * config.noise
            clean, noisy = log_shares(patches), log_shares(patches + noise)
            entropy = -(clean.exp() * clean).sum(1).mean()
            loss = entropy - (noisy[:, 1].mean() + clean[:, 0].mean()) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return adapted(patches).detach()


def views(batch: Tensor) -> list[Tensor]:
    """22 views of prepared images: as they are, turned, shifted, mirrored, grey, turned by quarters."""
    turned = [_transform(batch, torch.deg2rad(torch.tensor(angle)), (0.0, 0.0)) for angle in ANGLES]
    shifted = [_transform(batch, torch.tensor(0.0), shift) for shift in SHIFTS]
    grey = (batch * torch.tensor(GREY).to(batch).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(batch)
    quarters = [batch.rot90(turns, (2, 3)) for turns in (1, 2, 3)]
    return [batch, *turned, *shifted, batch.flip(3), grey, *quarters]


def _transform(batch: Tensor, angle: Tensor, shift: tuple[float, float]) -> Tensor:
    """Turned and shifted (down, right; in half sides), bilinear, border reflected, centres of corner pixels as ±1."""
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.tensor([[cos, -sin, shift[1]], [sin, cos, shift[0]]]).to(batch).expand(len(batch), 2, 3)
    grid = F.affine_grid(matrix, list(batch.shape), align_corners=True)
    return F.grid_sample(batch, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * 2 * bound - bound
