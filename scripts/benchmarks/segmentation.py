"""python -m scripts.benchmarks.segmentation RUN [--workers 2] [--repeats 3]: what evaluations cost beside their model.

For each of eval_segmentation (the run's MDLM on its own data with the fixed prompt), describe (its EDDM on the same
images) and eval_mmad (the run's exam as MMAD asks it), anew each time and with the weights loaded before: the share of
the wall time in which no model works, that is listing, loading, resizing, prompts, metrics and writing. Exit code 1
where the best repeat exceeds the project's target. One thread for the model, as in the demo.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from data.ddqa.rows import read_rows
from data.ddqa.wording import Task
from data.errors import UserError
from data.files import read_json, write_json
from data.mmad import ANOMALY_DETECTION
from data.run import Run, open_run
from data.source import DataConfig, Source, load_samples
from data.training.descriptions import Manner
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.prompts import TextSource
from scripts.command import compose_config, readable_errors

TARGET = 0.2
MODEL = "fixed"
TYPES = {Task.AD: ANOMALY_DETECTION, Task.RDL: "Defect Localization", Task.DC: "Defect Classification"}


class Meter:
    """Adds up the time in a model's functions; one within another counts once.

    Attributes:
        spent: Seconds on the clock, and of this thread's work: the latter bears a busy machine, and counts no waiting.
    """

    def __init__(self) -> None:
        self.spent, self._depth = np.zeros(2), 0

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time is added up."""

        def watched(*arguments: Any, **options: Any) -> Any:
            self._depth += 1
            started = clock()
            try:
                return function(*arguments, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.spent += clock() - started

        return watched

    def share_beside(self, work: Callable[[], object]) -> np.ndarray:
        """Shares of the time of some work outside of the model: on the clock, and of this thread."""
        self.spent, started = np.zeros(2), clock()
        work()
        return 1 - self.spent / (clock() - started)


class Timed:
    """A predictor whose time is added up."""

    def __init__(self, predictor: Any, meter: Meter) -> None:
        self.ready, self.predict = predictor.ready, meter(predictor.predict)


def clock() -> np.ndarray:
    """Now, and what this thread has worked, seconds."""
    return np.array([time.perf_counter(), time.thread_time()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    with readable_errors():
        import torch

        from models.eddm.eddm import load_eddm
        from models.mdlm.files import load_mdlm

        torch.set_num_threads(1)
        run = open_run(given.run)
        meter, eddm = Meter(), load_eddm(run)
        timed = Timed(load_mdlm(run, MODEL), meter)
        model: Any = eddm.chat.model  # type: ignore[attr-defined]
        for owner, name in (
            (model, "generate"),
            (model.model, "get_image_features"),
            (model.model.language_model, "forward"),
        ):
            setattr(owner, name, meter(getattr(owner, name)))
        measures: dict[str, Callable[[], np.ndarray]] = {
            f"eval_segmentation, {given.workers} workers": lambda: measure_share(run, timed, meter, given.workers),
            "describe": lambda: measure_describe(run, eddm, meter),
            "eval_mmad": lambda: measure_mmad(run, eddm, meter),
        }
        missed = False
        print(f"share of the time beside the model, target {TARGET:.0%} at most (of this thread's work)")
        for name, measure in measures.items():
            shares = [measure() for _ in range(given.repeats)]
            best = min(float(share[0]) for share in shares)
            missed |= best > TARGET
            row = ", ".join(f"{wall:.1%} ({work:.1%})" for wall, work in shares)
            print(f"{name:<32}{row}; best {best:.1%}", flush=True)
    sys.exit(missed)


def measure_share(run: Run, timed: Timed, meter: Meter, workers: int) -> np.ndarray:
    """Shares of an evaluation's time outside of the model; see `Meter.share_beside`.

    Raises:
        UserError: If the run does not tell its data.
    """
    sources = read_sources(run)
    with tempfile.TemporaryDirectory(prefix="eiad-evaluation-") as out:
        config = SegmentationConfig(
            preset="tiny",
            run=str(run.path),
            data=DataConfig(train=sources["train"], zero_shot=sources["zero_shot"]),
            description=TextSource.fixed,
            out=out,
            zero_shot=False,
            workers=workers,
        )
        return meter.share_beside(lambda: evaluate_segmentation(config, lambda run, model: timed))


def measure_describe(run: Run, eddm: Any, meter: Meter) -> np.ndarray:
    """Shares of describing the run's zero-shot images outside of the model."""
    from models.eddm.describe import describe_items

    def describe(path: Path) -> None:
        samples = load_samples(read_sources(run)["zero_shot"]).samples
        describe_items(eddm, [(sample.id, sample.image) for sample in samples], Manner(), path, 64)

    eddm.chat.forget()
    with tempfile.TemporaryDirectory(prefix="eiad-evaluation-") as out:
        return meter.share_beside(lambda: describe(Path(out) / "log.jsonl"))


def measure_mmad(run: Run, eddm: Any, meter: Meter) -> np.ndarray:
    """Shares of asking and scoring outside of the model."""
    from eval.mmad.evaluate import EvalMMADConfig, evaluate_mmad

    eddm.chat.forget()
    with tempfile.TemporaryDirectory(prefix="eiad-evaluation-") as out:
        write_mmad(run, Path(out))
        words = [f"data_root={out}", f"run={run.path}", f"out={out}/results"]
        config = compose_config("eval_mmad", EvalMMADConfig, words)
        with patch("eval.mmad.evaluate.load_eddm", lambda *arguments, **options: eddm):
            return meter.share_beside(lambda: evaluate_mmad(config))


def write_mmad(run: Run, folder: Path) -> None:
    """The run's exam in MMAD's format, its images linked; each is its own template."""
    entries: dict[str, dict[str, Any]] = defaultdict(lambda: {"conversation": []})
    roots = {Path(row["images"][0]) for row in read_rows(run.ddqa / "zero_shot.jsonl")}
    common = Path(os.path.commonpath([str(root) for root in roots]))
    (folder / "DS-MVTec").symlink_to(common)
    for row in read_rows(run.ddqa / "zero_shot.jsonl"):
        if row["task"] in TYPES:
            key = f"DS-MVTec/{Path(row['images'][0]).relative_to(common).as_posix()}"
            question, *_ = row["messages"][0]["content"].removeprefix("<image>").split("\n")
            entries[key]["conversation"].append(
                {
                    "Question": question,
                    "Options": dict(zip("ABCDE", row["options"], strict=False)),
                    "Answer": row["answer"],
                    "type": TYPES[row["task"]],
                }
            )
    write_json(folder / "mmad.json", entries)


def read_sources(run: Run) -> dict[str, list[Source]]:
    """The run's data by side: `train`, `zero_shot`.

    Raises:
        UserError: If the run does not tell.
    """
    trained = read_json(run.mdlm / MODEL / "config.json").get("data", {})
    if not trained.get("zero_shot"):
        raise UserError(f"{run.mdlm / MODEL / 'config.json'} names no zero-shot data. Train with this version.")
    return {side: [Source(**source) for source in trained[side]] for side in ("train", "zero_shot")}


if __name__ == "__main__":
    main()
