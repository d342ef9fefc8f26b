"""A calibration from what a model says about sound and defective images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eval.calibration.conformal import expected_alarms, threshold_at
from eval.calibration.drift import find_drift
from eval.calibration.file import Calibration, Method
from eval.calibration.probability import fit_scaling

FRESH = 200  # sound images that the interval is told for, unless asked otherwise


@dataclass(slots=True)
class Scores:
    """What a model says about some images.

    Attributes:
        images: Their anomaly scores.
        peaks: The highest values of their maps.
    """

    images: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def add(self, score: float, peak: float) -> None:
        """Adds an image."""
        self.images.append(score)
        self.peaks.append(peak)


def make_calibration(
    sound: Scores,
    defective: Sequence[float],
    *,
    rate: float,
    model: str,
    category: str = "",
    method: Method = Method.held_out,
    fresh: int = FRESH,
    seed: int = 0,
) -> Calibration:
    """Takes threshold, expectations and, where defects are there, probabilities from scores.

    Args:
        sound: Of sound images that the model was not fitted on.
        defective: Scores of defective images; may be empty.
        rate: Rate of false alarms that is asked for.
        model: Hash of the model.
        category: Category of the expert.
        method: Where the scores of the sound images came from.
        fresh: Number of fresh sound images that the interval is told for.
        seed: Of the cross-validation of the probabilities.

    Raises:
        UserError: If the sound images are too few for the rate, or a score is not finite.
    """
    threshold = threshold_at(sound.images, rate)
    return Calibration(
        threshold=threshold,
        false_alarms=rate,
        normals=len(sound.images),
        fresh=fresh,
        interval=expected_alarms(len(sound.images), rate, fresh),
        method=method,
        model=model,
        category=category,
        pixel=threshold_at(sound.peaks, rate) if sound.peaks else None,
        defects=len(defective),
        found=float((np.asarray(defective) >= threshold).mean()) if len(defective) else None,
        scaling=fit_scaling(sound.images, defective, seed),
        drift=find_drift(sound.images, threshold),
        sound=tuple(sorted(map(float, sound.images))),
    )
