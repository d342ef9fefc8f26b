"""python -m scripts.benchmarks.calibration [SCORES]: seconds from scores to a calibration with probabilities.

Half of the scores (default 10,000) are of sound images, half of defective ones; exits 1 if it takes a second or more.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from eval.calibration.make import Scores, make_calibration

LIMIT = 1.0  # seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Times one calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="?", type=int, default=10_000)
    count = parser.parse_args(arguments).scores // 2
    draws = np.random.default_rng(0)
    sound, defective = draws.normal(size=count).tolist(), draws.normal(2, size=count).tolist()
    started = time.perf_counter()
    made = make_calibration(Scores(sound, sound), defective, rate=0.05, model="benchmark")
    seconds = time.perf_counter() - started
    print(f"{2 * count} scores: {seconds:.2f} s (goal: under {LIMIT:g} s)")
    print(made.describe())
    sys.exit(seconds >= LIMIT)


if __name__ == "__main__":
    main()
