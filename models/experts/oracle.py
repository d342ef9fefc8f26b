"""The oracle: a perfect expert that reads the masks (VELM, Tables 2 and 3, first columns)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from data.sample import ImageArray, Sample, load_mask
from models.experts.expert import Detection, Gate


class OracleExpert:
    """The ground truth as an expert: the map is the mask, the score 1 where there is a defect, else 0."""

    name = "oracle"
    sees_truth = True

    def __init__(self) -> None:
        self.gates: Mapping[str, Gate] = defaultdict(lambda: Gate(0.5, 0.5))  # of every category

    def check(self, categories: Sequence[str]) -> None:
        """Knows every category."""

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Reads the masks; see `Expert.detect`.

        Raises:
            UserError: If an anomalous image has no mask, an empty one, or one of another size.
        """
        found = []
        for sample, image in zip(samples, images, strict=True):
            mask = load_mask(sample, image.shape[:2])
            found.append(Detection(mask.astype(np.float32), float(not sample.is_normal), self.gates[sample.category]))
        return found
