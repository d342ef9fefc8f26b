"""python -m scripts.benchmarks.learning [FOLDER] [SEED ...]: what the tiny EIAD reaches, mean and spread.

Runs the demo once a seed (default 0 1 2) of data and fine-tuning into FOLDER/seed<N> (default runs/learning; finished
ones are not run again), and prints the figures of the unseen products beside the project's goals. False alarms and
defects found are at thresholds taken from 40 fresh sound photos of each product, for 5 % of them. Exits 1 if a goal is
missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np

from data.factory.catalog import PRODUCTS
from data.factory.piece import make_normal
from data.files import make_dir, read_json
from data.sample import load_image
from data.source import Source as Dataset
from data.source import load_samples
from eval.calibration.conformal import threshold_at
from eval.inspection.sources import Picture, Source, SourceConfig, open_source
from scripts.command import readable_errors

SIDE, SOUND, RATE = 256, 40, 0.05
GOALS = {  # figure → (goal, whether less is better)
    "AD balanced accuracy": (92.0, False),
    "RDL": (92.0, False),
    "DC": (92.0, False),
    "DFM mean IoU": (25.0, False),
    "pixel AUROC": (97.0, False),
    "pixel F1-max": (59.0, False),
    "image AUROC": (94.0, False),
    "EDDM's gain in F1-max": (4.0, False),
    "EDDM's gain in image AUROC": (8.0, False),
    "right over shuffled words, F1-max": (15.0, False),
    "false alarms at 5 %": (8.0, True),
    "defects found at 5 %": (80.0, False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the seeds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/learning"))
    parser.add_argument("seeds", nargs="*", type=int)
    given = parser.parse_args(arguments)
    seeds = given.seeds or [0, 1, 2]
    with readable_errors():
        figures = []
        for seed in seeds:
            run = given.folder / f"seed{seed}"
            command = [sys.executable, "-m", "scripts.run_all", f"run_dir={run}", f"seed={seed}"]
            subprocess.run(command, check=True, stdout=sys.stderr)
            figures.append({**read_figures(read_json(run / "results.json")), **calibrate_products(run, seed)})
        sys.exit(not report(figures, seeds))


def read_figures(results: dict[str, Any]) -> dict[str, float]:
    """The figures of a run's `results.json`, in percent."""
    said, means = results["eddm"], {name: value["mean"] for name, value in results["segmentation"].items()}
    ours, without = means["with_eddm"], means["without_eddm"]
    return {
        "AD balanced accuracy": said["AD"],
        "RDL": said["RDL"],
        "DC": said["DC"],
        "DFM mean IoU": said["DFM_iou"],
        "pixel AUROC": ours["pixel_auroc"],
        "pixel F1-max": ours["pixel_f1_max"],
        "image AUROC": ours["image_auroc"],
        "EDDM's gain in F1-max": ours["pixel_f1_max"] - without["pixel_f1_max"],
        "EDDM's gain in image AUROC": ours["image_auroc"] - without["image_auroc"],
        "right over shuffled words, F1-max": (
            means["oracle_decoys"]["pixel_f1_max"] - means["shuffled_decoys"]["pixel_f1_max"]
        ),
    }


def calibrate_products(run: Path, seed: int) -> dict[str, float]:
    """False alarms and defects found among the unseen images, in percent, at each product's own threshold."""
    source = open_source(SourceConfig(run=str(run)))
    samples = load_samples([Dataset(reader="mvtec_ad", root=str(run / "data" / "unseen"), splits=["test"])]).samples
    alarms: list[bool] = []
    found: list[bool] = []
    for product in sorted({sample.category for sample in samples}):
        threshold = threshold_at(score(source, draw_sound(run / "sound" / product, product, seed)), RATE)
        own = [sample for sample in samples if sample.category == product]
        flagged = [value >= threshold for value in score(source, [sample.image for sample in own])]
        for sample, is_flagged in zip(own, flagged, strict=True):
            (alarms if sample.is_normal else found).append(is_flagged)
    return {"false alarms at 5 %": 100 * mean(alarms), "defects found at 5 %": 100 * mean(found)}


def draw_sound(folder: Path, product: str, seed: int) -> list[Path]:
    """Fresh sound photos of a product, as files."""
    draws = np.random.default_rng([seed, SOUND, *product.encode()])
    paths = [make_dir(folder) / f"{number:02d}.png" for number in range(SOUND)]
    for path in paths:
        cv2.imwrite(str(path), make_normal(draws, PRODUCTS[product], SIDE).image[..., ::-1])
    return paths


def score(source: Source, paths: Sequence[Path], batch: int = 16) -> list[float]:
    """Image scores, as `scripts.inspect` gives them."""
    scores = []
    for start in range(0, len(paths), batch):
        images = [(path, load_image(path)) for path in paths[start : start + batch]]
        pictures = [Picture(path.name, path, image, source.ready(image)) for path, image in images]
        scores += [look.score for look in source.look(pictures)]
    return scores


def report(figures: Sequence[dict[str, float]], seeds: Sequence[int]) -> bool:
    """Prints every figure beside its goal, as a Markdown table; whether all are reached."""
    columns = [*(f"seed {seed}" for seed in seeds), "mean ± half the range", "goal"]
    print(f"| unseen products, in percent | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}")
    reached = True
    for name, (goal, less) in GOALS.items():
        values = [one[name] for one in figures]
        middle = mean(values)
        good = middle <= goal if less else middle >= goal
        reached &= good
        verdict = f"{'≤' if less else '≥'} {goal:g}" + ("" if good else f": missed by {abs(middle - goal):.1f}")
        cells = [
            *(f"{value:.1f}" for value in values),
            f"{middle:.1f} ± {(max(values) - min(values)) / 2:.1f}",
            verdict,
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return reached


if __name__ == "__main__":
    main()
