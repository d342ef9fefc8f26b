"""Trains DDAD on the normal images of one category: the diffusion model, then the backbone's adaptation to it.

The diffusion model only learns the noise levels that a reconstruction passes through (below `ddad.noise_to`), and what
is kept of it is the moving average of its weights.

The small preset's rate, batch and beta2 were chosen on gear, leather, bearing and capsule of the generated factory,
which the demo's test leaves out. A rate this high wants a short memory of squared gradients: with AdamW's usual 0.999
the mean image AUROC of the four was 84.7, with 0.99 91.2, with 0.95 94.8, with 0.9 93.8 (one seed, up to 24 photos of
each kind).
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.errors import UserError
from data.sample import ImageArray
from models.experts.ddad import DDAD, CategoryModel

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DDADTrainConfig:
    """How DDAD is trained.

    Attributes:
        steps: Steps of the diffusion model.
        learning_rate: Of the diffusion model at its highest: it rises over `warmup`, then falls to 0 along a cosine.
        warmup: Share of the steps over which it rises.
        average: Decay of the moving average of the weights, which is less at first; 0 keeps the last weights.
        beta2: Of AdamW, the decay of its mean of squared gradients.
        weight_decay: Of the diffusion model.
        batch_size: Images a step.
        flip: Mirror images at random, left to right.
        adaptation_steps: Steps of the backbone's adaptation, where there are features; 0 leaves it as it comes.
        adaptation_rate: Learning rate of the adaptation.
        distillation: Weight of the term that keeps the adapted features near the original ones (the paper's λ).
        seed: Of the weights, the order, the noise.
    """

    steps: int = 1000
    learning_rate: float = 5e-3
    warmup: float = 0.05
    average: float = 0.995
    beta2: float = 0.95
    weight_decay: float = 0.05
    batch_size: int = 4
    flip: bool = False
    adaptation_steps: int = 20
    adaptation_rate: float = 1e-4
    distillation: float = 0.1
    seed: int = 0


def train_ddad(expert: DDAD, category: str, images: Iterable[ImageArray], config: DDADTrainConfig) -> None:
    """Gives the expert a model of a category.

    Args:
        expert: Gets the model.
        category: The category.
        images: Normal images, (H, W, 3) uint8 RGB.
        config: Steps and rates.

    Raises:
        UserError: If a number of steps is out of range.
    """
    if config.steps < 1 or config.adaptation_steps < 0 or config.batch_size < 1:
        raise UserError(
            f"train_ddad needs steps ≥ 1, adaptation_steps ≥ 0 and batch_size ≥ 1, not {config.steps}, "
            f"{config.adaptation_steps}, {config.batch_size}."
        )
    shares = {"average": config.average, "warmup": config.warmup, "beta2": config.beta2}
    if bad := [f"{name}={value}" for name, value in shares.items() if not 0 <= value < 1]:
        raise UserError(f"train_ddad needs average, warmup and beta2 in [0, 1), not {', '.join(bad)}.")
    prepared = torch.cat([expert.prepare([image]) for image in images])
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = expert.new_model()
        generator = torch.Generator().manual_seed(config.seed)
        _train_denoiser(expert, model, prepared, category, config, generator)
        if model.features is not None and config.adaptation_steps:
            _adapt(expert, model, model.features, prepared, category, config, generator)
    if model.features is not None:
        model.pixel_scale = _pixel_scale(expert, model, prepared)
    expert.models[category] = model


def _train_denoiser(
    expert: DDAD,
    model: CategoryModel,
    images: Tensor,
    category: str,
    config: DDADTrainConfig,
    generator: torch.Generator,
) -> None:
    """The noise prediction of DDPM on normal images, at the noise levels of a reconstruction."""
    denoiser, scheduler = model.denoiser.train(), expert.scheduler
    averaged = copy.deepcopy(denoiser).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        denoiser.parameters(),
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, config))
    spoken, total, count = time.monotonic(), 0.0, 0
    for step in range(config.steps):
        batch = _draw(images, config.batch_size, generator)
        if config.flip:
            mirrored = torch.rand(len(batch), generator=generator) < 0.5
            batch = torch.where(mirrored.to(batch.device).view(-1, 1, 1, 1), batch.flip(3), batch)
        noise = torch.randn(batch.shape, generator=generator).to(batch)
        at = torch.randint(expert.config.noise_to, (len(batch),), generator=generator).to(batch.device)
        loss = denoiser.loss(scheduler.add_noise(batch, noise, at), at, noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        rates.step()
        decay = min(config.average, (1 + step) / (10 + step))
        for mean, value in zip(averaged.parameters(), denoiser.parameters(), strict=True):
            mean.lerp_(value.detach(), 1 - decay if config.average else 1.0)
        total, count = total + float(loss.detach()), count + 1
        if time.monotonic() - spoken > 5 or step + 1 == config.steps:
            log.info("%s: step %d of %d, loss %.4f", category, step + 1, config.steps, total / count)
            spoken, total, count = time.monotonic(), 0.0, 0
    model.denoiser = averaged.eval()


def rate_at(step: int, config: DDADTrainConfig) -> float:
    """Learning rate of a step, counted from 0, as a share of the highest."""
    rising = config.warmup * config.steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, config.steps - rising)))


def _adapt(
    expert: DDAD,
    model: CategoryModel,
    features: nn.Module,
    images: Tensor,
    category: str,
    config: DDADTrainConfig,
    generator: torch.Generator,
) -> None:
    """Makes features the same for a normal image and what the diffusion model makes of another one in its direction.

    Whatever differs between the two is the diffusion model's doing, not a defect. A distillation term keeps the
    features of both near those of the frozen backbone, so that they do not become the same for everything. As in the
    authors' code the batch norms adapt too, and the features of a stage are compared as one long vector.
    """
    assert expert.backbone is not None
    frozen = copy.deepcopy(features).eval().requires_grad_(False)
    features.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(features.parameters(), lr=config.adaptation_rate)
    last = 0.0
    for _ in range(config.adaptation_steps):
        target = _draw(images, config.batch_size, generator)
        noises = expert.draw_noises(1, generator)
        remade = expert.reconstruct(model.denoiser, _draw(images, config.batch_size, generator), target, noises)[0]
        pair = [expert.backbone.normalise(batch) for batch in (target, remade)]
        (ours, theirs), (kept_ours, kept_theirs) = (
            [extractor(batch) for batch in pair] for extractor in (features, frozen)
        )
        loss = _difference(ours, theirs)
        loss = loss + config.distillation * (_difference(ours, kept_ours) + _difference(theirs, kept_theirs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = float(loss.detach())
    features.eval().requires_grad_(False)
    log.info("%s: backbone adapted in %d steps, last loss %.4f", category, config.adaptation_steps, last)


def _difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """1 − cosine of all features of an image, averaged over images, summed over the stages."""
    pairs = zip(first, second, strict=True)
    return torch.stack([(1 - F.cosine_similarity(a.flatten(1), b.flatten(1))).mean() for a, b in pairs]).sum()


def _pixel_scale(expert: DDAD, model: CategoryModel, images: Tensor) -> float:
    """Largest feature distance over largest pixel distance, on the training images.

    The paper takes both maxima over the images under test, which would make a map depend on its neighbours.
    """
    pixel_top = feature_top = 0.0
    size = max(1, expert.config.batch_size // expert.config.draws)
    for start in range(0, len(images), size):
        pixel, feature = expert.distances(model, images[start : start + size])
        pixel_top, feature_top = max(pixel_top, float(pixel.max())), max(feature_top, float(feature.max()))
    return feature_top / max(pixel_top, 1e-6)


def _draw(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random batch, with replacement."""
    return images[torch.randint(len(images), (count,), generator=generator).to(images.device)]
