"""python -m scripts.benchmarks.ddqa [FOLDER] [--masks 2000] [--large 128000] [--repeats 3]: what building DDQA costs.

On generated 1024² mask PNGs: building against decoding the masks alone with the same decoder and workers; regions,
boxes and components against scikit-image's full-frame `label` and `regionprops` on the same masks; one worker against
two; peak memory of a small and a large build. FOLDER (default: a temporary one) keeps the files. Prints the ratios
with the project's targets; exit code 1 when one is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import psutil
from skimage.measure import label, regionprops

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig
from data.ddqa.regions import region_pixels
from data.ddqa.tasks import enclose
from data.masks import Box, MaskFile, Region, decode_mask, defect_regions
from data.parallel import map_chunks

SIDE = 1024
ANOMALOUS = 0.41  # Real-IAD's share


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs all parts and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--large", type=int, default=128_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--build", nargs=2, metavar=("ROOT", "WORKERS"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.build:
        build(Path(given.build[0]), int(given.build[1]))
        return
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="eiad-ddqa-") as temporary:
        passed = compare(given.folder or Path(temporary), given.masks, given.large, given.repeats)
    sys.exit(0 if passed else 1)


def compare(folder: Path, count: int, large: int, repeats: int) -> bool:
    """Runs all parts in a folder."""
    print(f"{count} masks of {SIDE}² in {folder}", flush=True)
    defective = make_tree(folder / "defective", count, count, 1.0)
    masks = [MaskFile(path) for path in sorted(defective.glob("part/ground_truth/spot/*.png"))]
    passed = [
        compare_building(defective, masks, repeats),
        compare_geometry(masks[:: max(1, len(masks) // 200)]),
        compare_memory(folder, count, large),
    ]
    return all(passed)


def make_tree(root: Path, masks: int, samples: int, anomalous: float) -> Path:
    """Writes a dataset in MVTec AD's layout; beyond `masks` pictures, its files are hard links to the first ones."""
    done = root / "done"
    if done.is_file() and done.read_text() == f"{masks} {samples} {anomalous}":
        return root
    shutil.rmtree(root, ignore_errors=True)
    good, spot, truth = root / "part/train/good", root / "part/test/spot", root / "part/ground_truth/spot"
    for path in (good, spot, truth):
        path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = rng.integers(90, 110, (SIDE, SIDE, 1), dtype=np.uint8)
    count = round(samples * anomalous)
    for index in range(min(masks, count)):
        cv2.imwrite(str(truth / f"{index:06d}_mask.png"), draw_mask(rng))
    for index in range(min(samples, 64)):
        cv2.imwrite(str((spot if index < count else good) / f"{index:06d}.png"), image)
    first = [path for path in (spot, good) for path in sorted(path.iterdir())]
    for index in range(samples):
        target = (spot if index < count else good) / f"{index:06d}.png"
        if not target.exists():
            os.link(first[index % len(first)], target)
        if masks <= index < count:
            os.link(truth / f"{index % masks:06d}_mask.png", truth / f"{index:06d}_mask.png")
    done.write_text(f"{masks} {samples} {anomalous}")
    return root


def draw_mask(rng: np.random.Generator) -> np.ndarray:
    """One to three blobs of 10 to 120 pixels, anywhere."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 4)):
        centre = tuple(int(value) for value in rng.integers(100, SIDE - 100, 2))
        axes = tuple(int(value) for value in rng.integers(5, 61, 2))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    return mask


def build(root: Path, workers: int) -> None:
    """Builds the published form of a generated dataset."""
    with tempfile.TemporaryDirectory() as out:
        build_ddqa(DDQAConfig(preset="", sources=["mvtec_ad"], paths={"mvtec_ad": str(root)}, out=out, workers=workers))


def decode(masks: Sequence[MaskFile]) -> list[None]:
    """Decodes masks and throws them away."""
    for mask in masks:
        decode_mask(mask)
    return [None] * len(masks)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare_building(root: Path, masks: list[MaskFile], repeats: int) -> bool:
    """Building against decoding, in turns; the fastest of each counts, since others' work only adds time."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(repeats):
        for workers in (1, 2):
            decoding = timed(lambda workers=workers: list(map_chunks(decode, masks, workers=workers)))  # type: ignore[misc]
            building = timed(lambda workers=workers: build(root, workers))  # type: ignore[misc]
            seconds.setdefault(("decode", workers), []).append(decoding)
            seconds.setdefault(("build", workers), []).append(building)
    best = {key: min(values) for key, values in seconds.items()}
    passed = True
    for workers in (1, 2):
        decoding, building = best["decode", workers], best["build", workers]
        text = f"build / decode, {workers} worker{'s' * (workers > 1)}"
        passed &= report(text, building / decoding, 1.3, most=True, detail=f"{building:.2f} s / {decoding:.2f} s")
    gain, ideal = best["build", 1] / best["build", 2], best["decode", 1] / best["decode", 2]
    return report("speed-up from 1 to 2 workers", gain, 1.7, detail=f"decoding alone: {ideal:.2f}") and passed


def compare_geometry(files: list[MaskFile]) -> bool:
    """Regions, boxes and components against scikit-image on whole frames; the results must be identical."""
    masks = [decode_mask(file) for file in files]
    ours = theirs = 0.0
    for file, mask in zip(files, masks, strict=True):
        start = time.perf_counter()
        found = defect_regions(file, mask)
        cells = region_pixels(mask, enclose(found))
        middle = time.perf_counter()
        expected = label_fully(mask)
        theirs += time.perf_counter() - middle
        ours += middle - start
        if not same(found, expected) or sum(cells.values()) != mask.sum():
            raise AssertionError(f"Other regions than scikit-image's: {file}")
    each = 1000 / len(masks)
    detail = f"{ours * each:.2f} ms against {theirs * each:.2f} ms a mask, identical on {len(masks)} masks"
    return report("regions, boxes, components: times faster than scikit-image", theirs / ours, 8.0, detail=detail)


def label_fully(mask: np.ndarray) -> list[Region]:
    """The same regions by scikit-image, from the whole frame."""
    regions = []
    for found in regionprops(label(mask, connectivity=2)):
        (top, left, bottom, right), (y, x) = found.bbox, found.centroid
        regions.append(Region(Box(left, top, right, bottom), int(found.area), (x, y)))
    return sorted(regions, key=lambda region: (-region.area, region.box))


def same(ours: list[Region], theirs: list[Region]) -> bool:
    """Whether boxes and areas are equal, and centroids up to rounding."""
    return [region[:2] for region in ours] == [region[:2] for region in theirs] and all(
        np.allclose(a.centroid, b.centroid, rtol=0, atol=1e-6) for a, b in zip(ours, theirs, strict=True)
    )


def compare_memory(folder: Path, masks: int, large: int) -> bool:
    """Peak memory of builds of two sizes, each in a new process."""
    peaks = []
    for samples in (masks, large):
        root = make_tree(folder / f"samples-{samples}", masks, samples, ANOMALOUS)
        peak, seconds = peak_memory(root)
        detail = f"{seconds:.0f} s, {samples / seconds:.0f} images/s"
        peaks.append(report(f"peak MB, {samples} samples, 2 workers", peak, 500, most=True, detail=detail))
    return all(peaks)


def peak_memory(root: Path) -> tuple[float, float]:
    """Peak of the proportional memory of a build and its workers in MB, and its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "scripts.benchmarks.ddqa", "--build", str(root), "2"]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    process, peak = psutil.Process(child.pid), 0.0
    while child.poll() is None:
        time.sleep(0.2)
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_full_info().pss for member in family) / 1e6)
        except psutil.Error:  # a member ended while it was looked at
            continue
    if child.returncode:
        raise SystemExit(f"The build of {root} failed: run it with --build {root} 2 to see why.")
    return peak, time.perf_counter() - start


def report(name: str, value: float, target: float, *, detail: str, most: bool = False) -> bool:
    """Prints a figure beside its target."""
    good = value <= target if most else value >= target
    sign = "≤" if most else "≥"
    print(f"{name:58} {value:8.2f}   target {sign} {target:g}: {'met' if good else 'MISSED'}   ({detail})", flush=True)
    return good


if __name__ == "__main__":
    main()
