"""python -m scripts.benchmarks.learning [FOLDER] [SEED ...]: the demo for each seed (0 1 2): mean and spread.

FOLDER (default runs/learning) keeps one run directory a seed; finished ones are not run again.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from data.files import read_json

# name, where it is in results.json, the project's target
ROWS: list[tuple[str, list[str], float | None]] = [
    ("EDDM AD balanced accuracy", ["eddm", "AD"], 90),
    ("EDDM RDL accuracy", ["eddm", "RDL"], 70),
    ("EDDM DC accuracy", ["eddm", "DC"], 70),
    ("EDDM DFM mean IoU", ["eddm", "DFM_iou"], None),
    ("MDLM pixel AUROC", ["segmentation", "with_eddm", "mean", "pixel_auroc"], 95),
    ("MDLM pixel F1-max", ["segmentation", "with_eddm", "mean", "pixel_f1_max"], 50),
    ("MDLM pixel AP", ["segmentation", "with_eddm", "mean", "pixel_ap"], None),
    ("MDLM image AUROC", ["segmentation", "with_eddm", "mean", "image_auroc"], None),
    ("without EDDM pixel AUROC", ["segmentation", "without_eddm", "mean", "pixel_auroc"], None),
    ("without EDDM pixel F1-max", ["segmentation", "without_eddm", "mean", "pixel_f1_max"], None),
]
# name, the two evaluations whose means are compared, metric, the project's target
GAINS = [
    ("EDDM's gain in pixel AUROC", "with_eddm", "without_eddm", "pixel_auroc", 0),
    ("EDDM's gain in pixel F1-max", "with_eddm", "without_eddm", "pixel_f1_max", 0),
    ("decoys: right text over shuffled", "oracle_decoys", "shuffled_decoys", "pixel_f1_max", 10),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs every seed and prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/learning"))
    parser.add_argument("seeds", nargs="*", type=int)
    given = parser.parse_args(arguments)
    seeds, results = given.seeds or [0, 1, 2], []
    for seed in seeds:
        run_dir = given.folder / f"seed{seed}"
        subprocess.run([sys.executable, "-m", "scripts.run_all", f"run_dir={run_dir}", f"seed={seed}"], check=True)
        results.append(read_json(run_dir / "results.json"))
    print(f"{'unseen categories, percent':<32}" + "".join(f"{f'seed {seed}':>9}" for seed in seeds), end="")
    print(f"{'mean':>9}{'spread':>9}{'target':>9}")
    for name, path, target in ROWS:
        print_row(name, [value_at(result, path) for result in results], target)
    for name, better, worse, metric, target in GAINS:
        print_row(name, [gain(result, better, worse, metric) for result in results], target)


def value_at(result: Any, path: list[str]) -> float:
    """A number deep in results.json."""
    for key in path:
        result = result[key]
    return float(result)


def gain(result: Any, better: str, worse: str, metric: str) -> float:
    """One evaluation's mean minus another's, in percentage points."""
    return value_at(result, ["segmentation", better, "mean", metric]) - value_at(
        result, ["segmentation", worse, "mean", metric]
    )


def print_row(name: str, values: list[float], target: float | None) -> None:
    """One line: the value of each seed, their mean, largest minus smallest, and the target."""
    cells = "".join(f"{value:>9.1f}" for value in values)
    print(f"{name:<32}{cells}{mean(values):>9.1f}{max(values) - min(values):>9.1f}", end="")
    print(f"{target:>9.0f}" if target is not None else "")


if __name__ == "__main__":
    main()
