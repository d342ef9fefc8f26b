"""python -m scripts.benchmarks.washers [SEEDS] [PHOTOS] [FRESH] [DEFECTIVE]: from photos of a washer to verdicts.

For each seed, generated photos of a washer in folders with untidy names are fitted and calibrated as
`python -m scripts.fit_expert images=FOLDER out=DIR` does, at 5 % false alarms; then fresh sound photos and clearly
defective ones are looked at. Prints the false alarms beside the interval that was printed, and how many defects are
found, and exits 1 if a goal is missed. The defaults are 20 seeds, 40 photos, 200 fresh ones and 40 defective ones.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.factory.catalog import PRODUCTS
from data.factory.piece import Piece, make_anomalous, make_normal
from eval.calibration.file import read_calibration
from models.experts.patchcore import PatchCore
from scripts.command import readable_errors
from train.experts.fit import FitExpertConfig, fit_expert

SIDE = 256
RATE = 0.05
WASHER = PRODUCTS["washer"]
CLEAR_PIXELS = 0.004  # of the photo, at least: a defect that a person sees at once …
CLEAR_CONTRAST = 25  # … and grey levels between the piece with it and without it, on average over its mask
NAMES = ("good parts", "OK", "Gutteile ok 2024", "no_defect", "GoodWashers")  # of the folders, by turns
GOALS = {"inside": 17 / 20, "mean": 0.06, "found": 0.95}


@dataclass(frozen=True)
class Turn:
    """What came out with one seed.

    Attributes:
        alarms: Share of fresh sound photos that were flagged.
        interval: What was printed beforehand.
        found: Share of defective photos that were flagged.
    """

    alarms: float
    interval: tuple[float, float]
    found: float

    @property
    def inside(self) -> bool:
        """Whether the share lies within what was printed."""
        return self.interval[0] <= self.alarms <= self.interval[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the seeds and prints a table."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seeds", 20), ("photos", 40), ("fresh", 200), ("defective", 40)):
        parser.add_argument(name, nargs="?", type=int, default=default)
    given = parser.parse_args(arguments)
    with readable_errors():
        turns = []
        for seed in range(given.seeds):
            started = time.perf_counter()
            turns.append(run(seed, given.photos, given.fresh, given.defective))
            print(_row(seed, turns[-1], given.fresh, time.perf_counter() - started), flush=True)
        sys.exit(not report(turns))


def run(seed: int, photos: int, fresh: int, defective: int) -> Turn:
    """Fits and calibrates on one seed's photos, and looks at its fresh ones."""
    draws = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as temporary:
        root, out = Path(temporary) / f"washer {seed}", Path(temporary) / "expert"
        folder = root / NAMES[seed % len(NAMES)]
        folder.mkdir(parents=True)
        for number in range(photos):
            piece = make_normal(draws, WASHER, SIDE)
            cv2.imwrite(str(folder / f"IMG_{number:04d} (1).JPG"), piece.image[..., ::-1])
        fit_expert(FitExpertConfig(expert="patchcore", images=str(root), out=str(out), false_alarms=RATE, seed=seed))
        calibration = read_calibration(out)
        assert calibration is not None
        expert = PatchCore.load(out)
        category = root.name
        scores = [_score(expert, category, make_normal(draws, WASHER, SIDE)) for _ in range(fresh)]
        defects = [_score(expert, category, draw_clear(draws)) for _ in range(defective)]
    return Turn(
        alarms=float(np.mean(np.asarray(scores) >= calibration.threshold)),
        interval=calibration.alarms_among(fresh),
        found=float(np.mean(np.asarray(defects) >= calibration.threshold)),
    )


def draw_clear(draws: np.random.Generator) -> Piece:
    """A defective washer whose defect is large and stands out."""
    while True:
        defect = WASHER.defects[int(draws.integers(len(WASHER.defects)))]
        piece = make_anomalous(draws, WASHER, defect, SIDE, extras=0, decoy=False)
        difference = np.abs(piece.image.astype(int) - piece.clean).mean(2)[piece.mask]
        if piece.mask.mean() >= CLEAR_PIXELS and difference.mean() >= CLEAR_CONTRAST:
            return piece


def report(turns: list[Turn]) -> bool:
    """Prints the figures beside their goals; returns whether all are reached."""
    figures = {
        "inside": float(np.mean([turn.inside for turn in turns])),
        "mean": float(np.mean([turn.alarms for turn in turns])),
        "found": float(np.mean([turn.found for turn in turns])),
    }
    count = sum(turn.inside for turn in turns)
    print(f"false alarms within the printed interval: {count} of {len(turns)} seeds (goal: {GOALS['inside']:.0%})")
    print(f"mean false alarms: {figures['mean']:.1%} (goal: at most {GOALS['mean']:.0%})")
    print(f"clear defects found: {figures['found']:.1%} (goal: at least {GOALS['found']:.0%})")
    reached = figures["inside"] >= GOALS["inside"] and figures["mean"] <= GOALS["mean"]
    return reached and figures["found"] >= GOALS["found"]


def _score(expert: PatchCore, category: str, piece: Piece) -> float:
    return expert.score(category, [piece.image])[0][1]


def _row(seed: int, turn: Turn, fresh: int, seconds: float) -> str:
    low, high = (round(fresh * share) for share in turn.interval)
    alarms = f"{round(fresh * turn.alarms)} of {fresh} sound photos flagged, printed {low} to {high}"
    return f"seed {seed}: {alarms}; {turn.found:.0%} of the defects found; {seconds:.0f} s"


if __name__ == "__main__":
    main()
