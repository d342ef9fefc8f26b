from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from eval.segmentation.map_store import MapStore


def make_row(name: str, key: str) -> dict[str, object]:
    return {
        "id": name,
        "key": key,
        "image": f"/data/{name}",
        "category": "washer",
        "defect": None,
        "prompt": "What?",
        "score": 0.5,
    }


def test_maps_come_back(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    anomaly_map = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    row = store.add([make_row("x/a.png", "1")], [anomaly_map])[0]
    assert store.rows() == [row]
    assert np.array_equal(store.load(row), anomaly_map)


def test_resume_keeps_matching_rows_only(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    names = ["same", "changed", "gone", "lost"]
    rows = store.add([make_row(name, "1") for name in names], [np.zeros((2, 2), np.float32)] * 4)
    (tmp_path / rows[3].map).unlink()
    assert set(store.resume({"same": "1", "changed": "2", "lost": "1"})) == {"same"}
    assert [row.id for row in store.rows()] == ["same"]


def test_a_torn_last_row_is_dropped(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    store.add([make_row("a", "1")], [np.zeros((2, 2), np.float32)])
    with store.log.open("a") as file:
        file.write('{"id": "b", "ke')
    assert set(store.resume({"a": "1", "b": "1"})) == {"a"}


def test_damage_is_named(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    row = store.add([make_row("a", "1")], [np.zeros((2, 2), np.float32)])[0]
    (tmp_path / row.map).write_bytes(b"not an array")
    with pytest.raises(UserError, match=r"a\.npy"):
        store.load(row)
    store.log.write_text('{"id": "a"}\n')
    with pytest.raises(UserError, match=r"images\.jsonl"):
        store.rows()
