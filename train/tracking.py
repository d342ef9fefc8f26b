"""Where training numbers go: a JSON-lines log, a line on stderr, and Weights & Biases if asked (its only importer)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import append_jsonl, read_jsonl, write_jsonl

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """How progress is shown.

    Attributes:
        seconds: Longest silence on stderr, in seconds.
        wandb_project: Project to report to; None reports nowhere.
    """

    seconds: float = 5.0
    wandb_project: str | None = None


class Tracker:
    """Writes one row per step to `path` and, every few seconds, one line to stderr.

    Args:
        path: The JSON-lines log. Rows of steps at or after `start` are dropped: a resumed run writes them again.
        start: First step of this process, counted from 0.
        steps: Steps of the whole stage.
        name: Name of the stage, for the progress lines.
        config: How progress is shown.
        settings: Configuration to send to Weights & Biases.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: int,
        steps: int,
        name: str,
        config: TrackingConfig,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self._path, self._steps, self._name, self._seconds = path, steps, name, config.seconds
        kept = [row for row in read_jsonl(path) if row["step"] <= start] if path.is_file() and start else []
        write_jsonl(path, kept)
        self._rows: list[dict[str, Any]] = []
        self._start, self._began, self._shown = start, time.monotonic(), 0.0
        self._remote = _start_wandb(config.wandb_project, name, settings) if config.wandb_project else None

    def add(self, step: int, **values: float) -> None:
        """Records a finished step, counted from 1."""
        row = {"step": step, **values}
        self._rows.append(row)
        if self._remote:
            self._remote.log(row, step=step)
        now = time.monotonic()
        if now - self._shown >= self._seconds or step == self._steps:
            self._shown = now
            left = (now - self._began) / max(1, step - self._start) * (self._steps - step)
            numbers = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            log.info("%s: step %d/%d  %s  %.0f s left", self._name, step, self._steps, numbers, left)
            self.flush()

    def flush(self) -> None:
        """Writes the rows so far to disk."""
        append_jsonl(self._path, self._rows)
        self._rows = []

    def close(self) -> None:
        """Writes what is left."""
        self.flush()
        if self._remote:
            self._remote.finish()


def _start_wandb(project: str, name: str, settings: dict[str, Any] | None) -> Any:
    import wandb

    return wandb.init(project=project, name=name, config=settings or {})
