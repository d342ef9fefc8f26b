"""python -m scripts.benchmarks.inspection [RUN] [--photos 200] [--side 1024]: its cost beside its model.

1. Generated photos, a fitted PatchCore: photos a second of a whole inspection (listing, hashing, reading, deciding,
   drawing, writing) beside those of `prepare`, `patches` and the nearest neighbours alone, on decoded images.
2. With a RUN of `preset=tiny`: one process for all photos beside one process a photo, loading included.

Exit code 1 where a ratio is below the project's goal. As many threads for the model as `OMP_NUM_THREADS` says.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.errors import UserError
from data.sample import ImageArray, load_image
from eval.inspection.config import InspectConfig
from eval.inspection.inspector import load_inspector
from eval.inspection.photos import find_photos
from eval.inspection.run import run_inspection
from models.experts.expert import Gate
from models.experts.patchcore import PatchCore, PatchCoreConfig
from scripts.command import readable_errors

GOALS = {"patchcore": 0.8, "run": 10.0}
FITTED = 24  # photos that PatchCore is fitted on: a memory as that of a user's few dozen
CATEGORY = "part"


def main(words: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--side", type=int, default=1024)
    arguments = parser.parse_args(words)
    with readable_errors(), tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_photos(place / "photos", arguments.photos, arguments.side)
        ratios = {"patchcore": compare_patchcore(place)}
        if arguments.run:
            ratios["run"] = compare_run(arguments.run, place)
        for name, ratio in ratios.items():
            verdict = "reached" if ratio >= GOALS[name] else "NOT reached"
            print(f"{name}: {ratio:.2f} ×, goal {GOALS[name]:g} ×: {verdict}", flush=True)
        if any(ratio < GOALS[name] for name, ratio in ratios.items()):
            sys.exit(1)


def write_photos(folder: Path, count: int, side: int) -> None:
    """Photos of a textured plate as a camera writes them, one in ten with a dark scratch."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        grain = cv2.resize(random.normal(size=(side // 8, side // 8)).astype(np.float32), (side, side))
        pixels = np.clip(128 + 20 * grain, 0, 255).astype(np.uint8)
        photo = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        if index % 10 == 9:
            x, y = (int(value) for value in random.integers(side // 8, side // 2, 2))
            cv2.line(photo, (x, y), (x + side // 4, y + side // 16), (20, 20, 20), max(2, side // 128))
        cv2.imwrite(str(folder / f"{index:04d}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])


def compare_patchcore(place: Path) -> float:
    """Rate of an inspection over that of the expert alone."""
    images = [load_image(photo.path) for photo in find_photos(str(place / "photos")).photos]
    sound = [image for index, image in enumerate(images) if index % 10 != 9][:FITTED]
    expert = PatchCore(PatchCoreConfig())
    expert.fit(CATEGORY, [sound])
    scores = [score for _, score in expert.score(CATEGORY, images[:FITTED])]
    expert.gates = {CATEGORY: Gate(float(np.quantile(scores, 0.95)), float(np.quantile(scores, 0.95)))}
    expert.save(place / "expert", {CATEGORY: []})
    time_expert(expert, images[:FITTED])  # kernels are chosen at the first batches
    alone = time_expert(expert, images)
    count = len(images)
    del images
    config = InspectConfig(
        images=str(place / "photos"), expert="patchcore", expert_dir=str(place / "expert"), out=str(place / "out")
    )
    inspector = load_inspector(config)
    started = time.perf_counter()
    inspection = run_inspection(config, lambda _: inspector)
    seconds = time.perf_counter() - started
    print(f"PatchCore alone: {count / alone:.1f} photos a second; inspection: {count / seconds:.1f}", flush=True)
    print(f"  {inspection.summary['verdicts']}", flush=True)
    return alone / seconds


def time_expert(expert: PatchCore, images: Sequence[ImageArray]) -> float:
    """Seconds of `prepare`, `patches` and nearest neighbours, a batch at a time."""
    started, size = time.perf_counter(), expert.config.batch_size
    for start in range(0, len(images), size):
        expert.score_batch(CATEGORY, expert.backbone.prepare(images[start : start + size]))
    return time.perf_counter() - started


def compare_run(run: str, place: Path) -> float:
    """Seconds a photo of a process with one photo, over those of a process with all."""
    photos = find_photos(str(place / "photos")).photos
    time_process(run, str(photos[0].path), place / "first")  # what the training looked like is learnt once
    one = time_process(run, str(photos[0].path), place / "one")
    everything = time_process(run, str(place / "photos"), place / "all")
    print(
        f"a process a photo: {one:.2f} s a photo; one process: {everything / len(photos):.3f} s a photo "
        f"({len(photos)} photos)",
        flush=True,
    )
    return one * len(photos) / everything


def time_process(run: str, images: str, out: Path) -> float:
    """Seconds of a whole command."""
    command = [sys.executable, "-m", "scripts.inspect", f"images={images}", f"run={run}", f"out={out}"]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"The inspection failed: {done.stderr[-400:]}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
