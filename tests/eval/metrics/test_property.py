"""Random adversarial cases against scikit-learn; the seed in the test's name repeats a failure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from eval.metrics.pixels import Engine, ScoredImage, pixel_metrics


def draw(seed: int) -> list[ScoredImage]:
    random = np.random.default_rng(seed)
    images = []
    for index in range(int(random.integers(1, 5))):
        shape = (int(random.integers(2, 14)), int(random.integers(2, 14)))
        mask = random.random(shape) < random.choice([0.02, 0.3, 0.8])
        kind = random.integers(7)
        scores = random.normal(size=shape) + 0.5 * mask
        if kind == 1:
            scores = np.round(scores * random.choice([1, 3]))
        elif kind == 2:
            scores = scores * 1e-30
        elif kind == 3:
            scores = (scores * 1e-42).astype(np.float32)
        elif kind == 4:
            scores = np.clip(scores, -0.5, 0.5)
        elif kind == 5:
            scores = np.where(scores > 1, 1e300, scores)
        elif kind == 6:
            scores = np.zeros(shape) * -1.0 if random.random() < 0.5 else np.ones(shape)
        images.append(ScoredImage(str(index), scores.astype(random.choice([np.float32, np.float64])), mask))
    images[0].mask[0, 0], images[0].mask[-1, -1] = True, False
    images[0].anomaly_map[0, 1] = 0.123
    return images


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("seed", range(60))
def test_agrees_with_scikit_learn(seed: int) -> None:
    images = draw(seed)
    truth = np.concatenate([i.mask.ravel() for i in images])
    scores = np.concatenate([i.anomaly_map.ravel().astype(np.float64) for i in images])
    # Ranks stand in for ±inf, which scikit-learn refuses; ties stay ties.
    ranks = np.unique(scores, return_inverse=True)[1].astype(float)
    precision, recall, _ = precision_recall_curve(truth, ranks)
    f1 = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    expected = {"auroc": roc_auc_score(truth, ranks), "ap": average_precision_score(truth, ranks), "f1_max": f1}
    exact = pixel_metrics(images, block_pixels=50)
    streamed = pixel_metrics(images, engine=Engine.streaming)
    for name, value in expected.items():
        assert getattr(exact, name) == pytest.approx(value, abs=1e-12)
        if streamed.reason is None:
            low, high = streamed.brackets[name]
            assert low - 1e-12 <= value <= high + 1e-12
    if streamed.reason is None:
        low, high = streamed.brackets["aupro"]
        assert low - 1e-12 <= exact.aupro <= high + 1e-12
