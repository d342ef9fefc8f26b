"""python -m scripts.benchmarks.ranks [FOLDER] [STEPS]: two ranks on two cores against one rank, one thread each.

FOLDER (default runs/benchmark_ranks) is a run directory: products, and the adapter of the last row. STEPS (default 60)
steps at the same batch in all; the first third warms up. Every rank has a core and a thread, and loads its images
itself; the share of data time is measured apart, with one worker. Needs a quiet machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from data.errors import UserError
from data.files import read_json, read_jsonl
from data.run import Run
from scripts.command import readable_errors

PORT = "29577"


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over the timed steps, and bytes of optimizer state on a rank."""

    samples_per_second: float
    data_share: float
    optimizer_bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs every row and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/benchmark_ranks"))
    parser.add_argument("steps", nargs="?", type=int, default=60)
    given = parser.parse_args(arguments)
    folder, steps = given.folder, given.steps
    with readable_errors():
        prepare(folder)
        one = measure(folder, 1, steps)
        two = measure(folder, 2, steps)
        sharded = measure(folder, 2, steps, "launch.strategy=zero2")
        worker = measure(folder, 1, steps, "loop.workers=1")
    for name, row in (
        ("1 rank", one),
        ("2 ranks, DDP", two),
        ("2 ranks, ZeRO-2", sharded),
        ("1 rank, 1 worker", worker),
    ):
        print(f"{name:<20}{row.samples_per_second:>8.1f} samples/s{row.optimizer_bytes:>12,} bytes of optimizer state")
    print(f"{'2 ranks over 1':<44}{two.samples_per_second / one.samples_per_second:>8.2f}  target 1.5")
    print(f"{'data time over step time, 1 worker':<44}{worker.data_share:>8.4f}  target below 0.05")
    ratio = sharded.optimizer_bytes / two.optimizer_bytes
    print(f"{'optimizer state of a rank, ZeRO-2 over DDP':<44}{ratio:>8.2f}  target 0.55")


def prepare(folder: Path) -> None:
    """Products in `folder`, made once."""
    if not (folder / "data").is_dir():
        run_pinned(1, "-m", "scripts.make_synthetic", f"run_dir={folder}")


def measure(folder: Path, count: int, steps: int, *options: str) -> Measured:
    """Trains the adapter on `count` ranks, one core and one thread each."""
    trained = Run(folder).mdlm / "fixed"
    shutil.rmtree(trained, ignore_errors=True)
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={count}", f"--master_port={PORT}"]
    settings = ["description=fixed", f"loop.steps={steps}", f"loop.checkpoint_every={steps}"]
    command = ["-m", "scripts.train_mdlm", f"run_dir={folder}", *settings, *options]
    cores = max(count, 2 if "loop.workers=1" in options else 1)  # a worker has a core of its own, as a rank has
    run_pinned(cores, *(launcher if count > 1 else []), *command)
    rows = read_jsonl(trained / "log.jsonl")[steps // 3 :]
    return Measured(
        median(row["samples_per_second"] for row in rows),
        median(row["data_share"] for row in rows),
        read_json(trained / "config.json")["optimizer_bytes_per_rank"],
    )


def run_pinned(cores: int, *arguments: str) -> None:
    """Runs Python on the first cores with one thread a process.

    Raises:
        UserError: If the machine has fewer cores, or the command fails.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < cores:
        raise UserError(f"This needs {cores} cores, but only {len(allowed)} may be used.")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    pin = ["taskset", "-c", ",".join(map(str, allowed[:cores]))] if shutil.which("taskset") else []
    done = subprocess.run([*pin, sys.executable, *arguments], env=environment)
    if done.returncode:
        raise UserError(f"A run failed with exit code {done.returncode}: {' '.join(arguments)}")


if __name__ == "__main__":
    main()
