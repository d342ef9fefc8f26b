"""Where training numbers go: a JSON-lines log, a line on stderr, TensorBoard, and Weights & Biases if asked.

This is the only importer of `wandb`. In a run of several ranks only the main one has a tracker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import append_jsonl, make_dir, read_jsonl, write_jsonl
from data.sample import ImageArray

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
        pictures: Masks to draw each time.
    """

    seconds: float = 5.0
    tensorboard: bool = True
    wandb: WandbMode = WandbMode.off
    wandb_project: str = "eiad"
    pictures_every: int = 100
    pictures: int = 4


class Tracker:
    """Writes one row per step to `log.jsonl` and, every few seconds, one line to stderr.

    Args:
        folder: Gets `log.jsonl` and `tensorboard/`. Rows of steps after `start` are dropped: a resumed run writes them
            again.
        start: Finished steps when this process began.
        steps: Steps of the whole stage.
        name: Name of the stage, for the progress lines.
        config: How progress is shown.
        settings: Configuration to send to Weights & Biases.

    Raises:
        UserError: If a service that was asked for cannot be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        name: str,
        config: TrackingConfig,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self._path, self._steps, self._name, self._config = folder / "log.jsonl", steps, name, config
        known = read_jsonl(self._path) if self._path.is_file() and start else []
        write_jsonl(self._path, [row for row in known if row["step"] <= start])
        self._rows: list[dict[str, Any]] = []
        self._start, self._began, self._shown = start, time.monotonic(), 0.0
        self._board = _start_tensorboard(folder / "tensorboard", start) if config.tensorboard else None
        self._remote = None if config.wandb is WandbMode.off else _start_wandb(config, folder, name, settings)

    def add(self, step: int, **values: float) -> None:
        """Records a finished step, counted from 1."""
        self._rows.append({"step": step, **values})
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
        shown = self._board is not None or self._remote is not None
        return shown and self._config.pictures_every > 0 and step % self._config.pictures_every == 0

    def add_pictures(self, step: int, pictures: Sequence[ImageArray]) -> None:
        """Shows (H, W, 3) uint8 pictures: image | true mask | predicted mask."""
        for number, picture in enumerate(pictures):
            if self._board is not None:
                self._board.add_image(f"masks/{number}", picture, step, dataformats="HWC")
        if self._remote is not None and pictures:
            import wandb

            self._remote.log({"masks": [wandb.Image(picture) for picture in pictures]}, step=step)

    def flush(self) -> None:
        """Hands the rows so far to the disk and to the services."""
        append_jsonl(self._path, self._rows)
        for row in self._rows:
            values = {key: value for key, value in row.items() if key != "step"}
            if self._board is not None:
                for key, value in values.items():
                    self._board.add_scalar(key, value, row["step"])
            if self._remote is not None:
                self._remote.log(values, step=row["step"])
        self._rows = []

    def close(self) -> None:
        """Writes what is left."""
        self.flush()
        if self._board is not None:
            self._board.close()
        if self._remote is not None:
            self._remote.finish()


def _start_tensorboard(folder: Path, start: int) -> Any:
    """An event writer; events after `start` of an interrupted run are hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("tracking.tensorboard=true needs the package tensorboard: install it, or set false.") from error
    return SummaryWriter(str(make_dir(folder)), purge_step=start + 1 if start else None)


def _start_wandb(config: TrackingConfig, folder: Path, name: str, settings: dict[str, Any] | None) -> Any:
    import wandb

    try:
        return wandb.init(
            project=config.wandb_project,
            name=name,
            config=settings or {},
            mode=config.wandb.value,  # type: ignore[arg-type]
            dir=str(make_dir(folder)),
        )
    except wandb.errors.Error as error:
        raise UserError(
            f"Weights & Biases does not start: {error}. Log in by `wandb login`, or set tracking.wandb=offline or off."
        ) from error
