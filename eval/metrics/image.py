"""Image metrics: AUROC, AP and F1-max of one anomaly score an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.errors import UserError
from eval.metrics.ranking import RankingMetrics, count_ranks, rank_metrics


def image_metrics(scores: Sequence[float], anomalous: Sequence[bool]) -> RankingMetrics:
    """Scores how well an anomaly score tells anomalous images from normal ones.

    Args:
        scores: One score an image, higher is worse; ±inf is allowed, NaN is not.
        anomalous: Whether each image shows a defect.

    Raises:
        UserError: If a score is NaN.
        ValueError: If the lengths differ.
    """
    if len(scores) != len(anomalous):
        raise ValueError(f"{len(scores)} scores for {len(anomalous)} images.")
    values = np.asarray(scores, np.float64)
    is_defect = np.asarray(anomalous, bool)
    if np.isnan(values).any():
        raise UserError(f"The anomaly score of image {int(np.isnan(values).argmax())} is NaN: the model is broken.")
    if not is_defect.any():
        return RankingMetrics(reason="no defective image")
    if is_defect.all():
        return RankingMetrics(reason="no normal image")
    if values.min() == values.max():
        return RankingMetrics(reason="all scores are equal")
    return rank_metrics(count_ranks(np.sort(values[is_defect]), [np.sort(values[~is_defect])]))
