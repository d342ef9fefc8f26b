"""`calibration.json`: a threshold, the rate that it stands for, and what both were taken from.

It lies in the folder of a run, an export or an expert; of an expert with several categories, in the category's own
folder there. Nothing of the model is touched by it, so it can be made again at any time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json, write_json
from eval.calibration.conformal import expected_alarms
from eval.calibration.probability import Scaling
from models.experts.store import category_folder

CALIBRATION = "calibration.json"


class Method(StrEnum):
    """Where the scores of sound images came from.

    `held_out`: images that the model was not fitted on; the rate is guaranteed for images like them.
    `cross_validation`: each image was scored by a fit on the others, and the model itself was fitted on all of them;
    the rate is guaranteed only as far as those fits score alike.
    """

    held_out = "held_out"
    cross_validation = "cross_validation"


@dataclass(frozen=True, slots=True)
class Drift:
    """What later scores are compared with.

    Attributes:
        median: Median of the sound scores below the threshold: `above` of them lie above it.
        images: How many sound scores lie below the threshold.
        above: How many of those lie above the median.
    """

    median: float
    images: int
    above: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold and what it stands for.

    Attributes:
        threshold: An image is flagged if its score is at or above it, in the units of the model.
        false_alarms: Share of sound images that are flagged, at most, on average over calibrations.
        normals: Sound images that it was taken from.
        trained: How many of them lie in the datasets that a run was trained on: for other products the rate is none.
            None where that is not known, as of an export.
        fresh: Number of fresh sound images that `interval` is told for.
        interval: Lowest and highest share of false alarms among them, 95 % of the time; 0..1.
        method: Where the scores of the sound images came from.
        model: Hash of what was calibrated; another model's calibration is refused.
        category: Category of the expert; empty for a model that knows none.
        pixel: A sound image's map stays below it everywhere, at the same rate: what outlines are drawn from. None
            without maps.
        defects: Defective images that were scored.
        found: Share of them that is flagged; None without any.
        scaling: From score to probability of a defect; None with too few defective images.
        drift: What later scores are compared with.
        sound: Scores of the sound images, ascending; empty in files that did not keep them.
    """

    threshold: float
    false_alarms: float
    normals: int
    fresh: int
    interval: tuple[float, float]
    method: Method
    model: str
    category: str = ""
    trained: int | None = 0
    pixel: float | None = None
    defects: int = 0
    found: float | None = None
    scaling: Scaling | None = None
    drift: Drift
    sound: tuple[float, ...] = ()

    def probability(self, score: float) -> float | None:
        """Probability of a defect at a score, 0..1; None where no defective image was there to learn it from."""
        return None if self.scaling is None else self.scaling.probability(score)

    def flagged_at(self, threshold: float) -> int | None:
        """How many of the sound images another threshold flags; None where their scores were not kept."""
        return len(self.sound) - bisect_left(self.sound, threshold) if self.sound else None

    def alarms_among(self, fresh: int) -> tuple[float, float]:
        """The 95 % interval of the share of false alarms among another number of fresh sound images."""
        return expected_alarms(self.normals, self.false_alarms, fresh)

    def describe(self) -> str:
        """Which threshold it is and what it stands for, in a sentence for a page or a log."""
        low, high = (round(self.fresh * share) for share in self.interval)
        where = f"{self.normals} sound images "
        if self.trained is None:
            where += "which the model must not have been trained on"
        elif self.trained:
            where += f"of which {self.trained} are of the products that the run was trained on"
        elif self.method is Method.held_out:
            where += "that the model was not fitted on"
        else:
            where += "by cross-validation, a weaker guarantee"
        found = "" if self.found is None else f" Of {self.defects} defective images, {100 * self.found:.0f} % reach it."
        return (
            f"Threshold {self.threshold:.5g}: {100 * self.false_alarms:g} % false alarms, from {where}; among "
            f"{self.fresh} fresh sound images expect {low} to {high} (95 %).{found}"
        )


def calibration_path(folder: Path, category: str = "") -> Path:
    """Where the calibration of a model lies; of one category among several, with that category's name."""
    return (category_folder(folder, category) if category else folder) / CALIBRATION


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Writes a calibration to `calibration_path`."""
    write_json(path, asdict(calibration))


def read_calibration(folder: Path, model: str | None = None, category: str = "") -> Calibration | None:
    """Reads the calibration of a run, an export or an expert.

    Args:
        folder: Its folder.
        model: Hash of the model as it is now; None leaves the check out.
        category: Category that is looked at. One of its own goes before the folder's, which must not be another's.

    Returns:
        The calibration; None if there is none.

    Raises:
        UserError: If the file is malformed, or of another model or category.
    """
    paths = [calibration_path(folder, category), folder / CALIBRATION]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    calibration = _parse(read_json(path), path)
    again = "Calibrate again, python -m scripts.calibrate, or remove the file"
    if model is not None and calibration.model != model:
        raise UserError(f"{path} is the calibration of another model ({calibration.model}, not {model}). {again}.")
    if category and calibration.category and calibration.category != category:
        raise UserError(f"{path} is the calibration of '{calibration.category}', not of '{category}'. {again}.")
    return calibration


def _parse(values: Any, path: Path) -> Calibration:
    try:
        low, high = values["interval"]
        found = Calibration(
            **{
                **values,
                "interval": (float(low), float(high)),
                "method": Method(values["method"]),
                "scaling": values.get("scaling") and Scaling(**values["scaling"]),
                "drift": Drift(**values["drift"]),
                "sound": tuple(sorted(map(float, values.get("sound", ())))),
            }
        )
        if not (math.isfinite(found.threshold) and 0 < found.false_alarms < 1 and isinstance(found.normals, int)):
            raise ValueError(f"threshold={found.threshold}, false_alarms={found.false_alarms}, normals={found.normals}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Not a calibration: {path} ({error!r}). Run python -m scripts.calibrate again.") from error
    return found
