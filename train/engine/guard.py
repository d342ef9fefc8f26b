"""What stops a run before its end: a loss that is no number or explodes."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from data.errors import UserError
from data.files import write_json
from train.engine import ranks

WINDOW = 50  # losses that the median is taken over
WARM = 20  # losses before an explosion can be told from a start
BAD_BATCH = "bad_batch.json"


class LossGuard:
    """Remembers recent losses.

    Args:
        factor: A loss above so many times the median of the recent ones is an explosion; None allows everything.
        losses: Recent losses of the run that is resumed.
        limit: A loss above it is one, too; None sets no limit.
    """

    def __init__(self, factor: float | None, losses: Sequence[float] = (), *, limit: float | None = None) -> None:
        self._factor, self._limit, self._recent = factor, limit, deque(losses, maxlen=WINDOW)

    @property
    def losses(self) -> list[float]:
        """The recent losses, for the checkpoint."""
        return list(self._recent)

    @property
    def smoothed(self) -> float:
        """Mean of the recent losses."""
        return statistics.fmean(self._recent) if self._recent else math.inf

    def judge(self, loss: float) -> str | None:
        """What is wrong with the next loss; a good one is remembered."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if self._limit is not None and loss > self._limit:
            return f"the loss is {loss:g}, over its limit of {self._limit:g},"
        if self._factor is not None and len(self._recent) >= WARM:
            usual = statistics.median(self._recent)
            if loss > self._factor * usual > 0:
                return f"the loss exploded to {loss:.4g}, over {self._factor:g} times its usual {usual:.4g},"
        self._recent.append(loss)
        return None


def stop_on(problem: str, *, name: str, step: int, ids: Sequence[str], loss: float, folder: Path) -> NoReturn:
    """Writes down what every rank was looking at, and stops all of them.

    Args:
        problem: What is wrong.
        name: Name of the stage.
        step: The step, counted from 1.
        ids: This rank's images, or rows.
        loss: This rank's own loss.
        folder: Gets `bad_batch.json`.

    Raises:
        UserError: Always.
    """
    seen = ranks.gather((list(ids), loss))
    path = folder / BAD_BATCH
    if ranks.is_main():
        rows = [{"rank": number, "loss": str(value), "ids": own} for number, (own, value) in enumerate(seen)]
        write_json(path, {"stage": name, "step": step, "problem": problem, "ranks": rows})
    everything = [one for own, _ in seen for one in own]
    raise UserError(
        f"{name}: {problem} at step {step}, on {', '.join(everything)}; also in {path}. Look at them, or lower "
        "optim.lr; then run the same command again: it goes on from the last checkpoint."
    )
