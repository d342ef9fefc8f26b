"""DDAD: how far is an image from what a diffusion model of normal ones makes of it (Mousakhan et al., 2023).

An image is noised part of the way and denoised again, each step drawn towards the image itself (conditioned
denoising), by a model that has only seen normal ones: what is normal comes back, a defect does not. The anomaly map is
the distance in pixels, averaged over several fixed noises; `ddad=paper` adds the distance between features, from a
backbone adapted to such reconstructions.

What the defaults, for small images, leave or add: no distance between features, which at 64 pixels measures lost
texture and buries the pixels'; a small denoiser that is quick to train (`models.experts.denoiser`); five denoising
steps instead of ten; eight noises instead of one, as one shows its own grain under a maximum; the image's score is the
mean of its worst hundredth instead of its maximum. They were chosen on two categories of the generated factory, gear
and leather, which are not among those of the demo's test.

Where this differs from the authors' public code in every preset: UNet and schedule are diffusers'; an image is noised
up to the first denoising step (225 of 250); the noises are the same for every image, so that a map does not depend on
its batch; what brings pixels and features to one scale comes from the training images, theirs from the test images.

A fitted expert is a folder: `expert.json`, `gate.json` and `<category>/ddad.safetensors`. `train.experts.ddad` trains
it.

Shapes: images (N, 3, S, S) in −1..1; maps (N, S, S); D draws of noise.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data.errors import UserError
from data.sample import ImageArray, Sample
from models.device import choose
from models.experts.backbone import Backbone, BackboneConfig
from models.experts.denoiser import Denoiser, DenoiserConfig, create_scheduler
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.store import (
    check_backbone,
    read_config,
    read_expert,
    read_gates,
    read_tensors,
    write_expert,
    write_gates,
    write_tensors,
)

WEIGHTS = "ddad.safetensors"


@dataclass(kw_only=True, slots=True)
class DDADConfig:
    """A DDAD.

    Attributes:
        backbone: Features of the distance, averaged over `pool` places; its image size is the diffusion model's too.
        features: Add the distance between features; without it no backbone is loaded.
        denoiser: The diffusion model.
        noise_to: Step up to which an image is noised before it is denoised (the paper's T′).
        steps: Denoising steps from there; about as many, as the scheduler's grid over the whole schedule is even.
        condition: Pull towards the image at each step (the paper's w).
        eta: Randomness of the DDIM steps, without which nothing new comes in; 0 is none (the paper's σ is 0 then).
        draws: Noises that a map is averaged over, made once and used for every image.
        pixel_weight: Weight of the pixel distance beside the feature distance, once both have the same scale (the
            paper's v).
        blur: Standard deviation of the smoothing, in pixels of the model.
        worst_share: Share of a map's pixels, the highest ones, whose mean is the image's score; 0 takes the maximum.
        batch_size: Reconstructions a batch: images times draws, at least one image.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.
        seed: Of the noises.
    """

    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(layers=[1, 2], image_size=64))
    features: bool = False
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    noise_to: int = 250
    steps: int = 5
    condition: float = 2.0
    eta: float = 1.0
    draws: int = 8
    pixel_weight: float = 1.0
    blur: float = 2.0
    worst_share: float = 0.01
    batch_size: int = 64
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range.
        """
        timesteps, factor = self.denoiser.timesteps, self.denoiser.factor
        if not 0 < self.steps <= self.noise_to <= timesteps:
            raise UserError(
                f"Need 0 < ddad.steps ≤ ddad.noise_to ≤ ddad.denoiser.timesteps, not {self.steps}, {self.noise_to}, "
                f"{timesteps}."
            )
        if self.backbone.image_size % factor:
            raise UserError(
                f"ddad.denoiser, with channels={self.denoiser.channels} and patch={self.denoiser.patch}, cannot halve "
                f"{self.backbone.image_size} pixels so often: make backbone.image_size a multiple of {factor}."
            )
        for name in ("condition", "eta", "pixel_weight", "blur", "worst_share"):
            if getattr(self, name) < 0:
                raise UserError(f"ddad.{name} must not be negative, not {getattr(self, name)}.")
        if self.draws < 1 or self.batch_size < 1 or self.worst_share > 1:
            raise UserError(
                f"Need ddad.draws ≥ 1, ddad.batch_size ≥ 1 and ddad.worst_share ≤ 1, not {self.draws}, "
                f"{self.batch_size}, {self.worst_share}."
            )

    @property
    def grid(self) -> int:
        """Steps of an even grid over the whole schedule, of which `steps` lie below `noise_to`."""
        timesteps = self.denoiser.timesteps
        return min(timesteps, max(1, round(timesteps * self.steps / self.noise_to)))


@dataclass(slots=True)
class CategoryModel:
    """What is learnt of one category.

    Attributes:
        denoiser: Predicts the noise in a noisy image.
        features: The adapted backbone: (N, 3, S, S) → stages; None without the distance between features.
        pixel_scale: What brings the pixel distance to the scale of the feature distance.
    """

    denoiser: Denoiser
    features: nn.Module | None = None
    pixel_scale: float = 1.0


class DDAD:
    """A DDAD with one diffusion model a category.

    Args:
        config: Sizes and switches.
    """

    name = "ddad"
    sees_truth = False

    def __init__(self, config: DDADConfig) -> None:
        self.config = config
        self.device = choose(config.device).device
        self.backbone = Backbone(config.backbone, self.device) if config.features else None
        self.scheduler = create_scheduler(config.denoiser.timesteps)
        self.scheduler.set_timesteps(config.grid, device=self.device)
        self.stops = [step for step in self.scheduler.timesteps if step < config.noise_to]
        self.noises = self.draw_noises(config.draws, torch.Generator().manual_seed(config.seed))
        self.gates: dict[str, Gate] = {}
        self.models: dict[str, CategoryModel] = {}

    def new_model(self) -> CategoryModel:
        """An untrained denoiser and the backbone as it comes."""
        features = copy.deepcopy(self.backbone.model) if self.backbone else None
        return CategoryModel(Denoiser(self.config.denoiser, self.config.backbone.image_size).to(self.device), features)

    def draw_noises(self, draws: int, generator: torch.Generator) -> Tensor:
        """Noises of reconstructions, (D, 1 + steps, 3, S, S): where it starts, and what comes in at each step."""
        side = self.config.backbone.image_size
        return torch.randn(draws, 1 + len(self.stops), 3, side, side, generator=generator).to(self.device)

    def prepare(self, images: Sequence[ImageArray]) -> Tensor:
        """Resizes, (N, 3, S, S) in −1..1."""
        size = (self.config.backbone.image_size,) * 2
        resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        batch = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)
        return batch.to(self.device, torch.float32) / 127.5 - 1

    @torch.no_grad()
    def reconstruct(
        self, denoiser: nn.Module, images: Tensor, condition: Tensor | None = None, noises: Tensor | None = None
    ) -> Tensor:
        """Noises images part of the way and denoises them towards a condition (the paper's Alg. 1), once a noise.

        All noises of all images are one batch.

        Args:
            denoiser: Predicts the noise.
            images: (N, 3, S, S).
            condition: What each step is drawn to, (N, 3, S, S); the images themselves unless given.
            noises: (D, 1 + steps, 3, S, S); the expert's own unless given.

        Returns:
            (D, N, 3, S, S), not clipped.
        """
        noises = self.noises if noises is None else noises
        draws, count = len(noises), len(images)
        noises = noises.repeat_interleave(count, 0)
        images, target = (each.repeat(draws, 1, 1, 1) for each in (images, images if condition is None else condition))
        current = self.scheduler.add_noise(images, noises[:, 0], self.stops[0].repeat(len(images)))
        for index, step in enumerate(self.stops, 1):
            kept = self.scheduler.alphas_cumprod[step]
            predicted = denoiser(current, step)
            noisy_target = kept.sqrt() * target + (1 - kept).sqrt() * predicted
            drawn = predicted - self.config.condition * (1 - kept).sqrt() * (noisy_target - current)
            noise = noises[:, index]
            current = self.scheduler.step(drawn, step, current, self.config.eta, variance_noise=noise).prev_sample
        return current.unflatten(0, (draws, count))

    @torch.no_grad()
    def distances(self, model: CategoryModel, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel and feature distance of images to their reconstructions, (N, S, S) each, means over the draws."""
        remade = self.reconstruct(model.denoiser, images)
        pixel = (images - remade).abs().mean((0, 2))
        feature = torch.zeros_like(pixel)
        if model.features is None or self.backbone is None:
            return pixel, feature
        ours = self._stages(model.features, images)
        for each in remade:
            for first, second in zip(ours, self._stages(model.features, each), strict=True):
                distance = 1 - F.cosine_similarity(first, second, dim=1)[:, None]
                size = pixel.shape[-2:]
                feature += F.interpolate(distance, size=size, mode="bilinear", align_corners=True)[:, 0] / len(remade)
        return pixel, feature

    def _stages(self, features: nn.Module, images: Tensor) -> list[Tensor]:
        """Features of images in −1..1, each place averaged with those around it."""
        assert self.backbone is not None
        pool = self.config.backbone.pool
        return [F.avg_pool2d(stage, pool, 1, pool // 2) for stage in features(self.backbone.normalise(images))]

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a model or a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - (self.gates.keys() & self.models.keys())):
            raise UserError(
                f"DDAD has no fitted model for {', '.join(missing)}; it has {', '.join(self.models) or 'none'}. "
                "Fit it: python -m scripts.fit_expert expert=ddad."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Scores images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and score, of images of one category, without a gate."""
        model = self.models[category]
        size = max(1, self.config.batch_size // self.config.draws)
        scored = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            pixel, feature = self.distances(model, self.prepare(batch))
            grids = (self.config.pixel_weight * model.pixel_scale * pixel + feature).cpu().numpy()
            for image, grid in zip(batch, grids, strict=True):
                if self.config.blur:
                    grid = cv2.GaussianBlur(grid, (0, 0), self.config.blur, borderType=cv2.BORDER_REFLECT)
                grown = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
                scored.append((np.asarray(grown, np.float32), mean_of_worst(grid, self.config.worst_share)))
        return scored

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """Writes the fitted expert; `fitted` holds the ids of the images that each category has seen."""
        for category, model in self.models.items():
            tensors = {f"denoiser.{name}": value for name, value in model.denoiser.state_dict().items()}
            if model.features is not None:
                tensors |= {f"features.{name}": value for name, value in model.features.state_dict().items()}
            tensors["pixel_scale"] = torch.tensor(model.pixel_scale)
            write_tensors(folder, category, WEIGHTS, tensors)
        write_gates(folder, self.gates)
        weights_hash = self.backbone.weights_hash if self.backbone else ""
        write_expert(folder, self.name, asdict(self.config) | {"weights_hash": weights_hash}, fitted)

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> DDAD:
        """Loads a fitted expert.

        Args:
            folder: Where `save` wrote it.
            device: Where it runs here, see `models.device`.

        Raises:
            UserError: If the folder holds none, it is incomplete, or the backbone's weights are gone or others.
        """
        known = {each.name for each in fields(DDADConfig)} | {"weights_hash"}
        if read_expert(folder, cls.name)["config"].keys() != known:
            raise UserError(f"{folder} was fitted by an earlier version of DDAD, with other settings. Fit it again.")
        config, weights_hash = read_config(folder, cls.name, DDADConfig)
        expert = cls(replace(config, device=device))
        if expert.backbone:
            check_backbone(folder, expert.backbone, weights_hash)
        expert.gates = read_gates(folder)
        for category in expert.gates:
            tensors = read_tensors(folder, category, WEIGHTS, "diffusion model")
            model = expert.new_model()
            model.pixel_scale = float(tensors.pop("pixel_scale"))
            for name, module in (("denoiser", model.denoiser), ("features", model.features)):
                if module is None:
                    continue
                prefix = f"{name}."
                state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                module.load_state_dict(state)
                module.eval().requires_grad_(False)
            expert.models[category] = model
        return expert


def mean_of_worst(grid: NDArray[np.float32], share: float) -> float:
    """Mean of a share of the values, the highest ones, at least one of them."""
    count = max(1, round(share * grid.size))
    return float(np.partition(grid, -count, axis=None)[-count:].mean())
