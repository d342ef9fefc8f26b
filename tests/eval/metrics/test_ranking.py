from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from eval.metrics.ranking import choose_cuts, count_ranks, rank_metrics


def test_counts_by_hand() -> None:
    counts = count_ranks(np.array([1.0, 2.0, 2.0, 5.0]), [np.array([0.0, 2.0]), np.array([2.0, 3.0, 9.0])])
    assert counts.scores.tolist() == [1, 2, 5]
    assert counts.ties.tolist() == [1, 2, 1]
    assert counts.below.tolist() == [1, 1, 4]
    assert counts.not_above.tolist() == [1, 3, 4]
    assert counts.negatives == 5


@pytest.mark.parametrize("values", [2, 5, 100, 10**6])
def test_agrees_with_scikit_learn(values: int) -> None:
    random = np.random.default_rng(values)
    positives = np.sort(random.integers(0, values, 300) / values + 0.1)
    negatives = random.integers(0, values, 2000) / values
    metrics = rank_metrics(count_ranks(positives, [np.sort(part) for part in np.split(negatives, 4)]))
    truth, scores = np.r_[np.ones(300), np.zeros(2000)], np.r_[positives, negatives]
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert metrics.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert metrics.ap == pytest.approx(average_precision_score(truth, scores), abs=1e-12)
    assert metrics.f1_max == pytest.approx(f1.max(), abs=1e-12)
    assert metrics.f1_threshold in thresholds[np.isclose(f1[:-1], f1.max(), rtol=0, atol=1e-12)]


def test_threshold_is_the_highest_of_equals() -> None:
    # At 3: TP 1, FP 0, F1 = 2/3. At 1: TP 2, FP 2, F1 = 4/6: equal.
    metrics = rank_metrics(count_ranks(np.array([1.0, 3.0]), [np.array([0.0, 2.0, 2.5])]))
    assert metrics.f1_max == pytest.approx(2 / 3)
    assert metrics.f1_threshold == 3


@pytest.mark.parametrize("most", [4, 16, 64])
def test_cuts_leave_few_of_either_kind_between_them(most: int) -> None:
    random = np.random.default_rng(0)
    positives, negatives = np.sort(random.normal(1, 1, 500)), np.sort(random.normal(0, 1, 20000))
    cuts = choose_cuts(count_ranks(positives, [negatives]), most)
    assert cuts[0] == positives[0] and (np.diff(cuts) > 0).all() and most / 2 <= len(cuts) <= most
    inside = [np.diff(np.searchsorted(kind, cuts)) / len(kind) for kind in (positives, negatives)]
    step = np.diff(np.searchsorted(negatives, positives)).max() / len(negatives) + 1 / len(positives)
    assert (inside[0] + inside[1] <= 2 / most + step).all()  # a part ends at the first positive beyond its share


def test_few_scores_are_all_cuts() -> None:
    counts = count_ranks(np.array([1.0, 1.0, 3.0]), [np.array([0.0, 2.0, 2.5])])
    assert choose_cuts(counts, 50).tolist() == [1, 3]
