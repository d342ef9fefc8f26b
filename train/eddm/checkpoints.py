"""A checkpoint of transformers' trainer: where it is in the training, and what was logged on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import read_json
from train.engine.identity import Identity
from train.engine.manifest import newest_intact

STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An intact checkpoint.

    Attributes:
        path: Its folder.
        step: Steps that were done.
        steps: Steps of the whole training.
        history: Its log, one entry a logged step.
    """

    path: Path
    step: int
    steps: int
    history: list[dict[str, Any]]

    @property
    def is_last(self) -> bool:
        """Whether nothing is left to train."""
        return self.step >= self.steps


def newest_checkpoint(folder: Path, identity: Identity) -> Checkpoint | None:
    """The newest intact checkpoint of a training."""
    path = newest_intact(folder, identity.fingerprint)
    if path is None:
        return None
    state = read_json(path / STATE)
    return Checkpoint(path, state["global_step"], state["max_steps"], state["log_history"])
