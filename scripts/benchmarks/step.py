"""python -m scripts.benchmarks.step RUN [--steps 60]: what a training step costs beside its own arithmetic.

Trains an MDLM as scripts.train_mdlm does with the tiny preset, on the run's data and with the fixed prompt, in
a folder of its own. Then a plain loop trains another one on the same batches, made before: forward, loss, backward,
clipping, AdamW. Both see the same losses. The difference is what loading, checks, logging and checkpoints take. One
thread; the CPU's time bears a busy machine. `scripts.benchmarks.ranks` says what a second rank gains.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from data.run import Run, open_run
from data.source import load_samples
from data.training.batches import StepBatches
from data.training.grounding import grounding_prompts
from models.mdlm.model import create_mdlm
from scripts.command import compose_config, readable_errors
from train.engine.optim import build_optimizer, lr_factor
from train.engine.tracking import Tracker
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.losses import mask_loss
from train.mdlm.mix import mix_dataset
from train.mdlm.train import train_mdlm


@dataclass(frozen=True, slots=True)
class Steps:
    """Losses, (steps,), and what each step but the first took: seconds on the clock and of the CPU, (steps - 1, 2)."""

    losses: np.ndarray
    seconds: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args(arguments)
    with readable_errors(), tempfile.TemporaryDirectory(prefix="eiad-steps-") as folder:
        torch.set_num_threads(1)
        config = configure(open_run(given.run), Path(folder), given.steps)
        trained, plain = time_training(config), time_plain(config)
    for name, steps in (("plain loop", plain), ("train_mdlm", trained)):
        wall, cpu = 1000 * np.median(steps.seconds, axis=0)
        print(f"{name:<16}{wall:>8.1f} ms a step{cpu:>8.1f} ms of the CPU")
    wall, cpu = 1 - np.median(plain.seconds, axis=0) / np.median(trained.seconds, axis=0)
    print(f"around the arithmetic {wall:.1%}, of the CPU's time {cpu:.1%}")
    print(f"largest difference in loss {np.abs(trained.losses - plain.losses).max():.1e}")


def configure(run: Run, folder: Path, steps: int) -> TrainMDLMConfig:
    """The tiny preset on the data of a run, which is left as it is."""
    (folder / "data").symlink_to(run.data.resolve())
    words = ["preset=tiny", f"run_dir={folder}", "description=fixed", f"loop.steps={steps}"]
    return compose_config("train_mdlm", TrainMDLMConfig, words)


def time_training(config: TrainMDLMConfig) -> Steps:
    """The training as it is, a mark at each row of its log."""
    losses, marks = [], []
    add = Tracker.add

    def marked(tracker: Tracker, step: int, **values: float) -> None:
        losses.append(values["loss"])
        marks.append(clock())
        add(tracker, step, **values)

    with patch.object(Tracker, "add", marked):
        train_mdlm(config)
    return Steps(np.array(losses), np.diff(marks, axis=0))


def time_plain(config: TrainMDLMConfig) -> Steps:
    """The same steps without anything around them."""
    samples = load_samples(config.data.train).samples
    torch.manual_seed(config.seed)
    model: Any = create_mdlm(config.mdlm)
    dataset = mix_dataset(config, samples, grounding_prompts(samples, config.description, {}))
    draws = StepBatches(dataset.parts, seed=config.seed, start=0, stop=config.loop.steps)
    batches = [model.processor.collate([dataset[draw] for draw in some]) for some in draws]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optim = config.loop.optim
    optimizer = build_optimizer(model.parameters(), optim)
    model.train()
    losses, marks = [], []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = optim.lr * lr_factor(step, config.loop.steps, optim)
        loss = mask_loss(model(batch), batch.masks, batch.valid, config.loss).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, optim.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        marks.append(clock())
    return Steps(np.array(losses), np.diff(marks, axis=0))


def clock() -> np.ndarray:
    """Now, and what this process has worked, seconds."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
