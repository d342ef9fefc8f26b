"""python -m scripts.benchmarks.goals [RUNS] [--seeds 0 1 2] [--words WORDS]: what the tiny EIAD reaches, mean and spread.

Runs the demo once a seed of data and fine-tuning into RUNS/seed<N> (default runs/goals; finished ones are kept), and
prints the figures of the unseen products beside the goals. False alarms and defects found are at thresholds taken from
40 fresh sound photos of each product, for 5 % of them. WORDS go to scripts.run_all. Exits 1 if a goal is missed.
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
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs/goals"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--words", nargs="+", default=[], help="for scripts.run_all, such as base=train")
    given = parser.parse_args(arguments)
    with readable_errors():
        figures = []
        for seed in given.seeds:
            run = given.runs / f"seed{seed}"
            command = ["scripts.run_all", f"run_dir={run}", f"seed={seed}", *given.words]
            subprocess.run([sys.executable, "-m", *command], check=True, stdout=sys.stderr)
            figures.append({**read_figures(read_json(run / "results.json")), **calibrate_products(run, seed)})
        sys.exit(not report(figures, given.seeds))


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
    """Prints mean and spread of each figure beside its goal; whether all are reached."""
    print(f"| mean of seeds {', '.join(map(str, seeds))} (lowest … highest) | measured | goal | |\n|---|---|---|---|")
    reached = True
    for name, (goal, less) in GOALS.items():
        values = [one[name] for one in figures]
        good = mean(values) <= goal if less else mean(values) >= goal
        reached &= good
        spread = f"{mean(values):.1f} ({min(values):.1f} … {max(values):.1f})"
        verdict = "reached" if good else f"missed by {abs(mean(values) - goal):.1f}"
        print(f"| {name} | {spread} | {'≤' if less else '≥'} {goal:g} | {verdict} |", flush=True)
    return reached


if __name__ == "__main__":
    main()
