"""What localizes: images and texts in, anomaly maps out. Light, so that scoring maps need not import a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.sample import ImageArray


class Predicted(Protocol):
    """What a predictor says about one image."""

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(H, W) in 0..1 at the image's own size, higher is worse."""

    @property
    def score(self) -> float:
        """Higher is worse."""


class Predictor(Protocol):
    """Anything that turns images and prompts into anomaly maps; `models.mdlm.model.MDLM` does."""

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> Sequence[Predicted]:
        """One prediction an image."""
