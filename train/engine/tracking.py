"""Where the numbers of all trainings go: a JSON-lines log, a line on stderr, TensorBoard, Weights & Biases if asked.

The two services are accelerate's trackers; this is the only importer of `wandb`. In a run of several ranks only the
main one has a tracker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import UserError
from data.files import make_dir
from data.sample import ImageArray
from train.engine.progress import LogRows

log = logging.getLogger(__name__)
QUIET = ("grad_norm", "samples_per_second", "data_share", "memory_gib")  # logged, but not in the line on stderr


class WandbMode(StrEnum):
    """Whether Weights & Biases is told: not at all, into files to be sent later (`wandb sync`), or over the network."""

    off = "off"
    offline = "offline"
    online = "online"


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """How progress is shown.

    Attributes:
        seconds: Longest silence on stderr, in seconds.
        tensorboard: Write event files to `tensorboard/` beside the log.
        wandb: Whether Weights & Biases is told.
        wandb_project: Its project.
        pictures_every: Steps between pictures of predicted masks, for TensorBoard and Weights & Biases; 0 draws none.
            Trainings without masks have none.
        pictures: Masks to draw each time.
    """

    seconds: float = 5.0
    tensorboard: bool = True
    wandb: WandbMode = WandbMode.off
    wandb_project: str = "eiad"
    pictures_every: int = 100
    pictures: int = 4


class Tracker:
    """Writes one row per step to a log and, every few seconds, one line to stderr.

    Args:
        log_to: The log; `tensorboard/` goes beside it. Its rows of steps after `start` are dropped: a resumed run
            writes them again.
        start: Finished steps when this process began.
        steps: Steps of the whole stage.
        name: Name of the stage, for the progress lines.
        config: How progress is shown.
        stage: What tells the rows from those of other stages in the same log; empty where it has a log of its own.
        settings: Configuration to send to Weights & Biases.

    Raises:
        UserError: If a service that was asked for cannot be had.
    """

    def __init__(
        self,
        log_to: Path,
        *,
        start: int,
        steps: int,
        name: str,
        config: TrackingConfig,
        stage: str = "",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self._rows, self._steps, self._name, self._config = LogRows(log_to, stage=stage), steps, name, config
        self._start, self._began, self._shown = start, time.monotonic(), 0.0
        self._services = _start_services(config, make_dir(log_to.parent), start, name, settings or {})

    def add(self, step: int, **values: float) -> None:
        """Records a finished step, counted from 1."""
        self._rows.add({"step": step, **values})
        for service in self._services:
            service.log(values, step=step)
        now = time.monotonic()
        if now - self._shown >= self._config.seconds or step == self._steps:
            self._shown = now
            left = (now - self._began) / max(1, step - self._start) * (self._steps - step)
            numbers = "  ".join(f"{key} {value:.4g}" for key, value in values.items() if key not in QUIET)
            log.info("%s: step %d/%d  %s  %.0f s left", self._name, step, self._steps, numbers, left)
            self.flush()

    @property
    def pictures(self) -> int:
        """Masks to draw each time."""
        return self._config.pictures

    def wants_pictures(self, step: int) -> bool:
        """Whether this step's masks are to be drawn."""
        every = self._config.pictures_every
        return bool(self._services) and every > 0 and step % every == 0

    def add_pictures(self, step: int, pictures: Sequence[ImageArray]) -> None:
        """Shows (H, W, 3) uint8 pictures of one size: image | true mask | predicted mask."""
        for service in self._services if pictures else ():
            more = {"dataformats": "NHWC"} if service.name == "tensorboard" else {}
            service.log_images({"masks": np.stack(pictures)}, step=step, **more)

    def flush(self) -> None:
        """Hands the rows so far to the disk."""
        self._rows.flush()

    def close(self) -> None:
        """Writes what is left."""
        self.flush()
        for service in self._services:
            service.finish()


def _start_services(config: TrackingConfig, folder: Path, start: int, name: str, settings: dict[str, Any]) -> list[Any]:
    """Accelerate's trackers; in TensorBoard events after `start` of an interrupted run are hidden."""
    from accelerate.tracking import TensorBoardTracker, WandBTracker  # slow to import

    services: list[Any] = []
    try:
        if config.tensorboard:
            services.append(TensorBoardTracker("tensorboard", folder, purge_step=start + 1 if start else None))
            services[-1].start()
    except ImportError as error:
        raise UserError("tracking.tensorboard=true needs the package tensorboard: install it, or set false.") from error
    if config.wandb is WandbMode.off:
        return services
    import wandb

    try:
        services.append(
            WandBTracker(config.wandb_project, name=name, config=settings, mode=config.wandb.value, dir=str(folder))
        )
        services[-1].start()
    except wandb.errors.Error as error:
        raise UserError(
            f"Weights & Biases does not start: {error}. Log in by `wandb login`, or set tracking.wandb=offline or off."
        ) from error
    return services
