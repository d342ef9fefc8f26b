"""Anomaly maps from disk: any detector, run elsewhere, as an expert.

    FOLDER/<sample id, with or without its suffix>.npy|tiff|tif|png     one map an image
    FOLDER/scores.json      optional: {sample id: score}
    FOLDER/gate.json        written by scripts.fit_expert

A sample id is `<dataset>/<path of the image below the dataset's root>`; the dataset may be left out of the path. How
a map is read: `models.experts.map_file`, as everywhere. A map of another size than its image is resized. Without
`scores.json` the score of an image is the maximum of its map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from data.errors import UserError
from data.files import read_json
from data.sample import ImageArray, Sample
from models.experts.expert import Detection, Gate, MapArray
from models.experts.map_file import SUFFIXES, read_map
from models.experts.store import read_gates


class PrecomputedExpert:
    """Maps from a folder.

    Args:
        folder: Where the maps are.
        gates: Thresholds by category; empty while the gate is being fitted.
    """

    name = "precomputed"
    sees_truth = False

    def __init__(self, folder: Path, gates: dict[str, Gate]) -> None:
        if not folder.is_dir():
            raise UserError(f"No folder of anomaly maps at {folder}. Check the path.")
        self.folder = folder
        self.gates = gates
        scores = folder / "scores.json"
        self._scores: dict[str, float] | None = read_json(scores) if scores.is_file() else None

    @classmethod
    def load(cls, folder: Path) -> PrecomputedExpert:
        """Opens a folder whose gate has been fitted.

        Raises:
            UserError: If the folder or its gate is missing.
        """
        expert = cls(folder, {})
        expert.gates = read_gates(folder)
        return expert

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without a gate; see `Expert.check`."""
        if missing := sorted(set(categories) - set(self.gates)):
            raise UserError(
                f"No gate for {', '.join(missing)} in {self.folder}; it has {', '.join(self.gates) or 'none'}. "
                "Fit it: python -m scripts.fit_expert expert=precomputed."
            )

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Reads the maps; see `Expert.detect`."""
        self.check([sample.category for sample in samples])
        found = []
        for sample, image in zip(samples, images, strict=True):
            anomaly_map, score = self.read(sample, image.shape[:2])
            found.append(Detection(anomaly_map, score, self.gates[sample.category]))
        return found

    def read(self, sample: Sample, size: tuple[int, int]) -> tuple[MapArray, float]:
        """Map and score of one image.

        Args:
            sample: The image.
            size: (height, width) of the image.

        Raises:
            UserError: If there is no map or more than one, it does not decode, has several channels or a value that is
                not finite, or `scores.json` lacks the image.
        """
        path = self._find(sample)
        anomaly_map = np.asarray(read_map(path), np.float32)
        if not np.isfinite(anomaly_map).all():
            raise UserError(f"Not finite: the anomaly map {path} holds NaN or infinity. Write it again.")
        if self._scores is None:
            score: float = float(anomaly_map.max())
        elif isinstance(given := self._scores.get(sample.id), int | float) and np.isfinite(given):
            score = float(given)
        else:
            raise UserError(f"No score of {sample.id} in {self.folder / 'scores.json'}: {given!r}. Add it as a number.")
        if anomaly_map.shape != size:
            anomaly_map = np.asarray(cv2.resize(anomaly_map, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        return anomaly_map, score

    def _find(self, sample: Sample) -> Path:
        whole = PurePosixPath(sample.id)
        below = PurePosixPath(*whole.parts[1:])
        stems = [whole, whole.with_suffix(""), below, below.with_suffix("")]
        paths = [self.folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
        found = [path for path in paths if path.is_file()]
        if not found:
            raise UserError(f"No anomaly map of {sample.id}: expected {self.folder / f'{stems[1]}.npy'}. Add it.")
        if len(found) > 1:
            raise UserError(f"Several anomaly maps of {sample.id}: {', '.join(map(str, found))}. Keep one.")
        if found[0].resolve() == sample.image.resolve():
            raise UserError(f"{self.folder} holds the images themselves, not their anomaly maps. Give another folder.")
        return found[0]
