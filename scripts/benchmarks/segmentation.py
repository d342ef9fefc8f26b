"""python -m scripts.benchmarks.segmentation RUN [--workers 2] [--repeats 3]: what an evaluation costs beside its model.

Evaluates the run's MDLM on its own data with the fixed prompt, anew each time and with the weights loaded before, and
prints the share of the wall time in which the model does not work: listing, loading, resizing, metrics and writing.
Exit code 1 where the best repeat exceeds the project's target. One thread for the model, as in the demo.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from data.errors import UserError
from data.files import read_json
from data.run import Run, open_run
from data.source import DataConfig, Source
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.prompts import TextSource
from models.predictor import Predicted
from scripts.command import readable_errors

TARGET = 0.2
MODEL = "fixed"


class Timed:
    """A predictor whose seconds are added up."""

    def __init__(self, predictor: Any) -> None:
        self._predictor, self.ready, self.seconds = predictor, predictor.ready, 0.0

    def predict(self, images: Sequence[Any], texts: Sequence[str]) -> Sequence[Predicted]:
        """As the predictor's."""
        started = time.perf_counter()
        found: Sequence[Predicted] = self._predictor.predict(images, texts)
        self.seconds += time.perf_counter() - started
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    with readable_errors():
        import torch

        from models.mdlm.files import load_mdlm

        torch.set_num_threads(1)
        run = open_run(given.run)
        timed = Timed(load_mdlm(run, MODEL))
        shares = [measure_share(run, timed, given.workers) for _ in range(given.repeats)]
    print(f"beside the model, {given.workers} workers: {', '.join(f'{share:.1%}' for share in shares)} of the time")
    print(f"best {min(shares):.1%}, target {TARGET:.0%} at most")
    sys.exit(0 if min(shares) <= TARGET else 1)


def measure_share(run: Run, timed: Timed, workers: int) -> float:
    """Share of an evaluation's wall time outside of the model.

    Raises:
        UserError: If the run does not tell its data.
    """
    trained = read_json(run.mdlm / MODEL / "config.json").get("data", {})
    if not trained.get("zero_shot"):
        raise UserError(f"{run.mdlm / MODEL / 'config.json'} names no zero-shot data. Train with this version.")
    train, zero_shot = ([Source(**source) for source in trained[side]] for side in ("train", "zero_shot"))
    timed.seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="eiad-evaluation-") as out:
        config = SegmentationConfig(
            preset="tiny",
            run=str(run.path),
            data=DataConfig(train=train, zero_shot=zero_shot),
            description=TextSource.fixed,
            out=out,
            zero_shot=False,
            workers=workers,
        )
        started = time.perf_counter()
        evaluate_segmentation(config, lambda run, model: timed)
        return 1 - timed.seconds / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
