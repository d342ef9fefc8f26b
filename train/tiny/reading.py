"""The language model on questions about images: it learns to read what the vision tower really writes."""

from __future__ import annotations

import numpy as np
import torch

from data.tiny.captions import make_turns
from data.tiny.pool import ScenePool
from models.tiny.batched_vision import encode_images
from train.tiny.config import BaseConfig
from train.tiny.language import Reader
from train.tiny.scenes import Scenes
from train.tiny.steps import Losses
from train.tiny.vision import show

SHARES = {"clean": 0.45, "marked": 0.45, "crowded": 0.1}  # of the scenes of a step


class ReadingLoss:
    """Loss of a step; the vision tower stays as it is."""

    def __init__(self, config: BaseConfig, reader: Reader, scenes: Scenes) -> None:
        self._config, self._reader, self._scenes = config, reader, scenes

    def __call__(self, rng: np.random.Generator, share: float) -> Losses:
        """As many scenes without a mark as with one, or the answer to "is there a mark" would be yes."""
        scenes, config = self._scenes.at(share), self._config
        odds = scene_odds(scenes)
        images, _, facts = show(scenes, rng.choice(len(odds), config.reading_batch, p=odds), rng)
        with torch.no_grad():
            seen = encode_images(self._reader.model, torch.from_numpy(images))
        turns = [make_turns(f, rng, config.turns, boxes=bool(rng.random() < config.box_share)) for f in facts]
        return {"answers": (1.0, self._reader.loss(turns, seen))}


def scene_odds(scenes: ScenePool) -> np.ndarray:
    """Probability of each scene, (N,), so that its group has its share."""
    marked = np.array([bool(facts.marks) for facts in scenes.facts])
    groups = {"clean": ~marked, "marked": marked & ~scenes.crowded, "crowded": marked & scenes.crowded}
    odds = sum(SHARES[name] * members / max(int(members.sum()), 1) for name, members in groups.items())
    return np.asarray(odds / np.sum(odds))
