from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from eval.segmentation.map_store import MapRow, MapStore


def add(store: MapStore, name: str, key: str = "1", anomaly_map: np.ndarray | None = None) -> MapRow:
    path = store.save(name, np.zeros((2, 2), np.float32) if anomaly_map is None else anomaly_map)
    about = {"image": f"/data/{name}", "category": "washer", "defect": None, "prompt": "What?"}
    row = MapRow(id=name, key=key, score=0.5, map=path, **about)  # type: ignore[arg-type]
    with store.writing():
        store.add_row(row)
    return row


def test_maps_come_back(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    anomaly_map = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    row = add(store, "x/a.png", anomaly_map=anomaly_map)
    assert store.rows() == [row]
    assert np.array_equal(store.load(row), anomaly_map)


def test_resume_keeps_what_holds_and_what_was_not_asked_for(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    rows = {name: add(store, name) for name in ("same", "changed", "elsewhere", "lost")}
    (tmp_path / rows["lost"].map).unlink()
    assert set(store.resume({"same": "1", "changed": "2", "lost": "1"})) == {"same"}
    assert [row.id for row in store.rows()] == ["same", "elsewhere"], "the map of a changed row is about to be replaced"


def test_rows_of_all_ranks_come_together(tmp_path: Path) -> None:
    for rank in range(3):
        store = MapStore(tmp_path, rank)
        add(store, f"image{rank}")
        with store.writing():
            store.add_score(f"key{rank}", float(rank))
    main = MapStore(tmp_path)
    assert set(main.resume({f"image{rank}": "1" for rank in range(3)})) == {"image0", "image1", "image2"}
    assert main.scores() == {"key0": 0.0, "key1": 1.0, "key2": 2.0} == main.scores()
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["images.jsonl", "scores.jsonl"]


def test_a_torn_last_row_is_dropped(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    add(store, "a")
    with store.log.open("a") as file:
        file.write('{"id": "b", "ke')
    assert set(store.resume({"a": "1", "b": "1"})) == {"a"}


def test_rows_of_older_versions_are_read(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    add(store, "a")
    text = store.log.read_text().replace(', "size": []', ', "resized": false')
    assert "resized" in text
    store.log.write_text(text)
    assert set(store.resume({"a": "1"})) == {"a"}


def test_damage_is_named(tmp_path: Path) -> None:
    store = MapStore(tmp_path)
    row = add(store, "a")
    (tmp_path / row.map).write_bytes(b"not an array")
    with pytest.raises(UserError, match=r"a\.npy"):
        store.load(row)
    store.log.write_text('{"id": "a"}\n')
    with pytest.raises(UserError, match=r"images\.jsonl"):
        store.rows()


def test_a_row_names_a_map_of_its_own_folder(tmp_path: Path) -> None:
    store = MapStore(tmp_path / "out")
    row = add(store, "a")
    (tmp_path / "out" / row.map).rename(tmp_path / "secret.npy")
    (tmp_path / "out" / row.map).symlink_to(tmp_path / "secret.npy")
    for name in ("../secret.npy", "maps/../../secret.npy", row.map):
        with pytest.raises(UserError, match=r"Path outside its folder: .* in .*images\.jsonl"):
            store.load(replace(row, map=name))
    assert store.load(replace(row, map=str(tmp_path / "secret.npy"))).shape == (2, 2)  # of another method
