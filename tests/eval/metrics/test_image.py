from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from data.errors import UserError
from eval.metrics.image import image_metrics


def test_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    anomalous = random.random(80) < 0.4
    scores = np.round(random.random(80) + 0.3 * anomalous, 1)
    metrics = image_metrics(scores.tolist(), anomalous.tolist())
    assert metrics.auroc == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)
    assert metrics.ap == pytest.approx(average_precision_score(anomalous, scores), abs=1e-12)
    assert metrics.reason is None


@pytest.mark.parametrize(
    ("scores", "anomalous", "reason"),
    [
        ([0.1, 0.2], [False, False], "no defective image"),
        ([0.1, 0.2], [True, True], "no normal image"),
        ([0.2, 0.2], [True, False], "all scores are equal"),
        ([], [], "no defective image"),
    ],
)
def test_undefined_has_a_reason(scores: list[float], anomalous: list[bool], reason: str) -> None:
    metrics = image_metrics(scores, anomalous)
    assert metrics.auroc is None and metrics.ap is None and metrics.f1_max is None
    assert reason in str(metrics.reason)


def test_infinite_scores_are_ranked() -> None:
    assert image_metrics([-np.inf, 0.0, np.inf], [False, False, True]).auroc == 1


def test_nan_is_refused() -> None:
    with pytest.raises(UserError, match="image 1 is NaN"):
        image_metrics([0.0, float("nan")], [True, False])


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="1 scores for 2 images"):
        image_metrics([0.0], [True, False])
