import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, jaccard_score

from eval.metrics.classes import METRICS, UNKNOWN, bootstrap_intervals, class_metrics, count_confusion, mean_metrics

TRUTH = ["good", "good", "a", "a", "a", "b", "b", "c"]
REPLY = ["good", "a", "a", "a", "b", "b", UNKNOWN, "good"]


def test_by_hand() -> None:
    confusion = count_confusion(TRUTH, REPLY)
    assert confusion.classes == ("good", "a", "b", "c", UNKNOWN)
    assert confusion.counts.tolist() == [
        [1, 1, 0, 0, 0],
        [0, 2, 1, 0, 0],
        [0, 0, 1, 0, 1],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    scores = class_metrics(confusion)
    assert scores["accuracy"] == pytest.approx(4 / 8)
    # F1: good 2/(2+1+1), a 4/(4+1+1), b 2/(2+1+1), c 0, unknown 0
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 5)
    expected = (2 * 2 + 3 * 3 + 2 * 2 + 1 * 0 + 0 * 1) / 64
    assert scores["kappa"] == pytest.approx((0.5 - expected) / (1 - expected))
    assert scores["eq1"] == pytest.approx((2 / 4 + 1 / 3 + 0) / 3)
    assert scores["eq2"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = np.array(["good", "bent", "cut", "hole", "zebra"])
    truth = classes[rng.integers(0, 4, 60)]
    reply = np.where(rng.random(60) < 0.6, truth, classes[rng.integers(0, 5, 60)])
    scores = class_metrics(count_confusion(truth.tolist(), reply.tolist()))
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, reply))
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, reply, average="macro", zero_division=0))
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(truth, reply))
    shown = sorted(set(truth) - {"good"})
    assert scores["eq1"] == pytest.approx(jaccard_score(truth, reply, labels=shown, average="macro"))
    assert scores["eq2"] == pytest.approx(f1_score(truth, reply, labels=shown, average="macro", zero_division=0))


def test_undefined_is_none_and_left_out_of_the_mean() -> None:
    normal = class_metrics(count_confusion(["good"] * 3, ["good"] * 3))
    assert normal == {"accuracy": 1.0, "macro_f1": 1.0, "kappa": None, "eq1": None, "eq2": None}
    perfect = class_metrics(count_confusion(["good", "a"], ["good", "a"]))
    assert mean_metrics({"x": normal, "y": perfect}) == dict.fromkeys(METRICS, 1.0)
    assert mean_metrics({"x": normal})["kappa"] is None


def test_nothing_to_count() -> None:
    with pytest.raises(ValueError, match="0 true"):
        count_confusion([], [])
    with pytest.raises(ValueError, match="2 true and 1 predicted"):
        count_confusion(["a", "b"], ["a"])


def test_intervals_agree_with_resampling_images() -> None:
    rng = np.random.default_rng(0)
    truth = np.array(["good", "a", "b", "c"])[rng.integers(0, 4, 80)]
    reply = np.where(rng.random(80) < 0.7, truth, "a")
    mean, categories = bootstrap_intervals(
        {"x": count_confusion(truth.tolist(), reply.tolist())}, resamples=4000, seed=1
    )
    assert mean == categories["x"]  # one category
    drawn = [rng.integers(0, 80, 80) for _ in range(1500)]
    values = [f1_score(truth[rows], reply[rows], average="macro", zero_division=0) for rows in drawn]
    assert mean["macro_f1"] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=0.015)
    accuracy = [(truth[rows] == reply[rows]).mean() for rows in drawn]
    assert mean["accuracy"] == pytest.approx(np.quantile(accuracy, [0.025, 0.975]).tolist(), abs=0.015)


def test_intervals_repeat_and_depend_on_the_seed() -> None:
    confusions = {"x": count_confusion(TRUTH, REPLY), "y": count_confusion(["good"], ["good"])}
    first = bootstrap_intervals(confusions, resamples=50, seed=0)
    assert first == bootstrap_intervals(confusions, resamples=50, seed=0)
    assert first != bootstrap_intervals(confusions, resamples=50, seed=1)
    assert first[1]["y"]["kappa"] is None
