"""python scripts/benchmarks/metrics.py [COUNT [SIDE [PEERS]]]: pixel metrics against scikit-learn, anomalib, ADEval.

Times every side on the same generated maps (default 100 of 512×512, float32) in this one process, and prints the
ratios with the project's limits beside them. anomalib and ADEval are optional: without them their rows say so.
PEERS picks sides by the start of their names, for example scikit,ADEval. All times are CPU seconds of one thread.
"""

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.metrics.pixels import Engine, ScoredImage, pixel_metrics

FIGURES = ("auroc", "ap", "f1_max", "aupro")
Figures = dict[str, float]


def make_images(count: int, side: int, kind: str) -> list[ScoredImage]:
    """Smooth noise with one to three raised discs in every second image.

    `smooth` is a sigmoid of it; `saturated` a steep one, with most scores at or next to 0 and 1; `outliers` the
    smooth one with a few scores of a million.
    """
    random = np.random.default_rng(0)
    images = []
    for index in range(count):
        raw = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), side / 64)
        raw = np.asarray(raw / raw.std(), np.float32)
        mask = np.zeros((side, side), np.uint8)
        for _ in range(random.integers(1, 4) if index % 2 else 0):
            x, y = (int(value) for value in random.integers(side // 8, side - side // 8, 2))
            cv2.circle(mask, (x, y), int(random.integers(side // 50, side // 14)), 1, -1)
        raw = raw + 2.5 * mask - 1
        steepness = 12 if kind == "saturated" else 1
        scores = (1 / (1 + np.exp(-steepness * raw))).astype(np.float32)
        if kind == "outliers":
            scores.ravel()[random.integers(0, side * side, 3)] = 1e6
        images.append(ScoredImage(f"{kind} {index}", scores, mask.astype(bool)))
    return images


def ours(engine: Engine) -> Callable[[list[ScoredImage]], Figures]:
    """All four figures by one of the engines."""

    def measure(images: list[ScoredImage]) -> Figures:
        metrics = pixel_metrics(images, engine=engine)
        return {name: getattr(metrics, name) for name in FIGURES}

    return measure


def scikit_learn(images: list[ScoredImage]) -> Figures:
    """Three calls; scikit-learn has no AUPRO."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    truth = np.concatenate([image.mask.ravel() for image in images])
    scores = np.concatenate([image.anomaly_map.ravel() for image in images])
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return {
        "auroc": roc_auc_score(truth, scores),
        "ap": average_precision_score(truth, scores),
        "f1_max": float(f1.max()),
    }


def anomalib_three(images: list[ScoredImage]) -> Figures:
    """AUROC, AUPR and F1-max, each as its own metric."""
    from anomalib.metrics.aupr import _AUPR
    from anomalib.metrics.auroc import _AUROC
    from anomalib.metrics.f1_score import _F1Max

    return {name: _anomalib(kind(), images) for name, kind in (("auroc", _AUROC), ("ap", _AUPR), ("f1_max", _F1Max))}


def anomalib_aupro(images: list[ScoredImage]) -> Figures:
    """AUPRO alone."""
    from anomalib.metrics.aupro import _AUPRO

    return {"aupro": _anomalib(_AUPRO(), images)}


def _anomalib(metric: Any, images: list[ScoredImage]) -> float:
    import torch

    for image in images:
        metric.update(torch.from_numpy(image.anomaly_map)[None], torch.from_numpy(image.mask)[None].long())
    return float(metric.compute())


def adeval(images: list[ScoredImage]) -> Figures:
    """AUROC, AUPR and AUPRO from 1000 strips between the least and the greatest score."""
    from adeval import auroc_aupr_aupro

    if not hasattr(np, "trapz"):  # ADEval 1.1 calls what NumPy 2.4 has removed
        np.trapz = np.trapezoid  # type: ignore[attr-defined]
    maps = [image.anomaly_map for image in images]
    masks = [image.mask.astype(np.uint8) for image in images]
    return dict(zip(("auroc", "ap", "aupro"), auroc_aupr_aupro(maps, masks), strict=True))


def best_time(
    measure: Callable[[list[ScoredImage]], Figures], images: list[ScoredImage], runs: int
) -> tuple[float, Figures]:
    """Least seconds of some runs, and the figures."""
    seconds, figures = [], {}
    for _ in range(runs):
        started = time.process_time()
        figures = measure(images)
        seconds.append(time.process_time() - started)
    return min(seconds), figures


def peak_bytes(measure: Callable[[list[ScoredImage]], Figures], images: list[ScoredImage]) -> int:
    """Most bytes that NumPy and Python held beyond the maps themselves."""
    tracemalloc.start()
    measure(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def worst(figures: Figures, truth: Figures) -> str:
    """Largest difference of each figure that both have."""
    return "  ".join(f"{name} {abs(figures[name] - truth[name]):.1e}" for name in FIGURES if name in figures)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one table for each kind of maps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=100)
    parser.add_argument("side", nargs="?", type=int, default=512)
    parser.add_argument("peers", nargs="?", default="")
    given = parser.parse_args(arguments)
    count, side, wanted = given.count, given.side, tuple(given.peers.split(","))
    exact, streaming = ours(Engine.exact), ours(Engine.streaming)
    streaming(make_images(2, 64, "smooth"))  # compiles the loops
    peers = {
        "scikit-learn, 3 figures": (scikit_learn, 1),
        "anomalib, 3 figures": (anomalib_three, 1),
        "anomalib, AUPRO": (anomalib_aupro, 1),
        "ADEval, 3 figures": (adeval, 3),
    }
    peers = {name: peer for name, peer in peers.items() if name.startswith(wanted)}
    limits = {
        "scikit-learn, 3 figures": "50",
        "anomalib, 3 figures": "30",
        "anomalib, AUPRO": "12",
        "ADEval, 3 figures": "1.0",
    }
    for kind in ("smooth", "saturated", "outliers"):
        images = make_images(count, side, kind)
        exact_seconds, truth = best_time(exact, images, 3)
        streaming_seconds, estimate = best_time(streaming, images, 3)
        memory = {"exact": peak_bytes(exact, images), "streaming": peak_bytes(streaming, images)}
        print(f"\n{count} maps of {side}x{side}, {kind}: " + "  ".join(f"{n} {v:.6f}" for n, v in truth.items()))
        print(f"{'':<26}{'seconds':>9}{'MB':>8}{'/ exact':>9}{'/ streaming':>12}   differences from exact")
        print(f"{'exact, 4 figures':<26}{exact_seconds:>9.3f}{memory['exact'] / 1e6:>8.0f}")
        print(
            f"{'streaming, 4 figures':<26}{streaming_seconds:>9.3f}{memory['streaming'] / 1e6:>8.0f}"
            f"{'':>21}   {worst(estimate, truth)}   (limits: 50 MB, auroc 1e-7, ap 1e-4)"
        )
        for name, (measure, runs) in peers.items():
            try:
                seconds, figures = best_time(measure, images, runs)
            except ImportError as error:
                print(f"{name:<26}   not installed ({error.name}): not compared")
                continue
            weigh = measure is scikit_learn and kind == "smooth"  # takes as long again, and is the same for all maps
            bytes_used = f"{peak_bytes(measure, images) / 1e6:.0f}" if weigh else ""
            print(
                f"{name:<26}{seconds:>9.3f}{bytes_used:>8}{seconds / exact_seconds:>8.1f}x"
                f"{seconds / streaming_seconds:>11.1f}x   {worst(figures, truth)}   (limit: {limits[name]}x)"
            )


if __name__ == "__main__":
    main()
