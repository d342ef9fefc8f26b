"""From an anomaly map to the anomaly score of its image."""

from __future__ import annotations

import numpy as np

from eval.conventions.named import ImageScore
from eval.metrics.scores import MapArray


def image_score(anomaly_map: MapArray, kind: ImageScore, fraction: float, said: float | None = None) -> float:
    """One score an image.

    Args:
        anomaly_map: (H, W), higher is worse.
        kind: `maximum`, `top_mean` or `half`.
        fraction: Share of the pixels, the most anomalous ones, that `top_mean` averages; at least one counts.
        said: The model's own score of the image, for `half`.

    Raises:
        ValueError: For another kind.
    """
    if kind is ImageScore.maximum:
        return float(anomaly_map.max())
    if kind is ImageScore.half and said is not None:
        return (said + float(anomaly_map.max())) / 2
    if kind is not ImageScore.top_mean:
        raise ValueError(f"'{kind}' is no score of a map: choose maximum, top_mean or half.")
    count = max(1, round(fraction * anomaly_map.size))
    return float(np.partition(anomaly_map.reshape(-1), -count)[-count:].mean(dtype=np.float64))
