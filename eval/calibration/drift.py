"""Whether the images that come in now still score as those of the calibration did.

What comes in is not known to be sound. So only scores below the threshold are compared, on both sides: without a drift
they are exchangeable, and the number of new ones above the calibration's median has a beta-binomial distribution. A
change so large that most images reach the threshold leaves too few below it, and is told by that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from eval.calibration.conformal import beta_binomial_interval
from eval.calibration.file import Calibration, Drift

LEVEL = 0.99  # an inspection without a drift warns once in a hundred
FEWEST = 10  # images below which nothing is said


def find_drift(scores: ArrayLike, threshold: float) -> Drift:
    """What later scores will be compared with, from the scores of the sound images."""
    values = np.sort(np.asarray(scores, np.float64).ravel())
    below = values[values < threshold]
    if not len(below):
        return Drift(threshold, 0, 0)
    median = below[(len(below) - 1) // 2]
    return Drift(float(median), len(below), int((below > median).sum()))


def drift_warning(calibration: Calibration, scores: Sequence[float]) -> str | None:
    """A warning if the scores of an inspection no longer look like those of the calibration.

    Args:
        calibration: The calibration.
        scores: Scores of all images of the inspection, sound or not.

    Returns:
        The warning, with what to do; None if there is none, or too few images to tell.
    """
    values = np.asarray(scores, np.float64)
    values = values[np.isfinite(values)]
    below = values[values < calibration.threshold]
    if len(values) < FEWEST:
        return None
    advice = "calibrate again on fresh sound images: python -m scripts.calibrate."
    if len(below) < len(values) / 2:
        return (
            f"{len(values) - len(below)} of {len(values)} images reach the threshold. Unless most are defective, "
            f"the camera, the light or the product has changed: {advice}"
        )
    known = calibration.drift
    if len(below) < FEWEST or known.images < FEWEST:
        return None
    low, high = beta_binomial_interval(len(below), known.above + 1, known.images - known.above, LEVEL)
    above = int((below > known.median).sum())
    if low <= above <= high:
        return None
    return (
        f"Scores have drifted: {above} of {len(below)} images below the threshold score above the median of the "
        f"calibration, where {low} to {high} are to be expected. The threshold may no longer stand for "
        f"{100 * calibration.false_alarms:g} % false alarms: {advice}"
    )
