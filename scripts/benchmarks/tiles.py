"""python -m scripts.benchmarks.tiles FOLDER [FIT] [CALIBRATE] [--seed 0]: Magnetic-tile at 5 % false alarms.

FOLDER holds the real set. PatchCore is fitted on FIT sound tiles (150), calibrated on CALIBRATE others (200), and the
other sound tiles and all defective ones are inspected: false alarms beside what was promised, and the share found
beside image AUROC.
"""

import argparse
import logging
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data.errors import UserError
from data.sample import ImageArray, Sample, load_image
from data.source import Source, load_samples
from eval.calibration.make import Scores, make_calibration
from eval.metrics.image import image_metrics
from models.experts.patchcore import PatchCore, PatchCoreConfig
from scripts.command import readable_errors

CATEGORY = "magnetic tile"
RATE = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits, calibrates, inspects and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("fit", nargs="?", type=int, default=150)
    parser.add_argument("calibrate", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with readable_errors():
        run(given.folder, given.fit, given.calibrate, given.seed)


def run(folder: str, fit: int, calibrate: int, seed: int) -> None:
    """Fits, calibrates, inspects and prints.

    Raises:
        UserError: If there are too few sound tiles.
    """
    samples = load_samples([Source(reader="magnetic_tile", root=folder)]).samples
    sound = [sample for sample in samples if sample.is_normal]
    defective = [sample for sample in samples if not sample.is_normal]
    if len(sound) <= fit + calibrate:
        raise UserError(f"{len(sound)} sound tiles are too few to fit on {fit} and calibrate on {calibrate}.")
    random.Random(seed).shuffle(sound)
    expert = PatchCore(PatchCoreConfig(seed=seed))
    expert.fit(CATEGORY, _batches(sound[:fit]))
    held, fresh = sound[fit : fit + calibrate], sound[fit + calibrate :]
    calibration = make_calibration(
        Scores(_score(expert, held)), [], rate=RATE, model="", category=CATEGORY, fresh=len(fresh)
    )
    print(f"fitted on {fit} sound tiles; {calibration.describe()}", flush=True)
    quiet, found = _score(expert, fresh), _score(expert, defective)
    alarms = sum(score >= calibration.threshold for score in quiet)
    low, high = (round(len(fresh) * share) for share in calibration.interval)
    print(f"false alarms: {alarms} of {len(fresh)} ({alarms / len(fresh):.1%}), expected {low} to {high}")
    kinds: dict[str, list[bool]] = defaultdict(list)
    for sample, score in zip(defective, found, strict=True):
        kinds[str(sample.defect)].append(score >= calibration.threshold)
    listed = ", ".join(f"{name} {np.mean(flags):.0%}" for name, flags in sorted(kinds.items()))
    share = np.mean([flag for flags in kinds.values() for flag in flags])
    print(f"found: {share:.1%} of {len(defective)} defective tiles ({listed})")
    figures = image_metrics([*quiet, *found], [False] * len(quiet) + [True] * len(found))
    print(f"image AUROC: {100 * (figures.auroc or 0):.1f} %")


def _score(expert: PatchCore, samples: Sequence[Sample]) -> list[float]:
    scores: list[float] = []
    for batch in _batches(samples):
        scores += expert.score_batch(CATEGORY, expert.backbone.prepare(batch))[1].tolist()
    return scores


def _batches(samples: Sequence[Sample], size: int = 16) -> Iterator[list[ImageArray]]:
    for start in range(0, len(samples), size):
        yield [load_image(sample.image) for sample in samples[start : start + size]]


if __name__ == "__main__":
    main()
