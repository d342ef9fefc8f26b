from __future__ import annotations

import numpy as np
import pytest

from eval.metrics import keys as pixel_keys
from eval.metrics.keys import BINS, bins_of, count_keys, keys_of, scores_of, weigh_keys

EDGES = [0.0, 0.5, 1.0, np.inf, -np.inf, 1e-45, -1e-45, 1 - 2.0**-24, 1 + 2.0**-23, -1.0, -0.5, 3e38]


def every_kind(count: int = 20000) -> np.ndarray:
    """Distinct scores in increasing order: any bits, 0..1, and just below 1."""
    random = np.random.default_rng(0)
    anything = random.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    crowded = (1 - 1e-5 * random.random(count)).astype(np.float32)
    scores = np.concatenate([anything, random.random(count, np.float32), crowded, np.array(EDGES, np.float32)])
    return np.unique(scores[~np.isnan(scores)])


def test_keys_grow_with_the_score_and_lead_back() -> None:
    scores = every_kind()
    keys = keys_of(scores)
    assert (np.diff(keys) > 0).all()
    assert np.array_equal(scores_of(keys), scores)


def test_zeros_share_a_key() -> None:
    assert keys_of(np.array([-0.0, 0.0], np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("shift", range(15))
def test_one_starts_a_bin_at_every_shift(shift: int) -> None:
    below, one = keys_of(np.array([1 - 2.0**-24, 1], np.float32)).tolist()
    assert one == (one >> shift) << shift
    assert below >> shift < one >> shift


@pytest.mark.parametrize("shift", [0, 3, 9, 13])
def test_least_score_of_a_bin(shift: int) -> None:
    scores = every_kind()[1:]
    starts = (keys_of(scores) >> shift) << shift
    least = scores_of(starts)
    assert (least <= scores).all()
    assert (keys_of(least) >= starts).all()


@pytest.mark.parametrize("shift", [0, 9, 14])
def test_numba_and_numpy_count_alike(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    scores = np.random.default_rng(1).permutation(np.r_[every_kind(), np.float32(-0.0)])
    weights = np.arange(len(scores))
    found = []
    for compiled in (pixel_keys._compiled, lambda: None):
        monkeypatch.setattr(pixel_keys, "_compiled", compiled)
        tables = [np.zeros(BINS, np.int64) for _ in range(3)]
        count_keys(scores, shift, tables[0])
        weigh_keys(scores, weights, shift, tables[1], tables[2])
        found.append([bins_of(scores, shift), *tables])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
