import socket
from pathlib import Path

import pytest

from data.errors import UserError
from models.weights import hub
from models.weights.hub import find_commit, resolve_checkpoint
from tests.models.weights.marked import write_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_hub_id_becomes_the_snapshot_and_nothing_asks_the_network(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody asks the network")

    place = write_snapshot(cache, "a/b", COMMIT, tmp_path / "ran")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for revision in (None, "main", COMMIT):
        assert resolve_checkpoint("a/b", revision) == place
    assert find_commit(place) == COMMIT
    with pytest.raises(UserError, match=r"No checkpoint 'a/c' .*nothing is downloaded unasked.*hf download a/c"):
        resolve_checkpoint("a/c")
    with pytest.raises(UserError, match="hf download a/b --revision v2"):
        resolve_checkpoint("a/b", "v2")


def test_a_snapshot_that_lacks_a_shard_is_refused(cache: Path, tmp_path: Path) -> None:
    place = write_snapshot(cache, "a/b", COMMIT, tmp_path / "ran")
    index = '{"weight_map": {"w0": "model-0.safetensors", "w1": "model-1.safetensors"}}'
    (place / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match="1 of 2 shards are missing"):
        resolve_checkpoint("a/b")


def test_it_is_downloaded_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_snapshot(tmp_path, "a/b", COMMIT, tmp_path / "ran")
    asked = []

    def snapshot(name: str, *, revision: str | None, local_files_only: bool, **others: object) -> str:
        asked.append((name, revision, local_files_only))
        return str(place)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert resolve_checkpoint("a/b", COMMIT, download=True) == place
    assert asked == [("a/b", COMMIT, False)]

    def fail(*_: object, **__: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(UserError, match="cannot be downloaded: no route"):
        resolve_checkpoint("a/b", download=True)


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert resolve_checkpoint(tmp_path / "one") == tmp_path / "one"
    assert find_commit(tmp_path / "one") is None
    with pytest.raises(UserError, match="No checkpoint at /nowhere"):
        resolve_checkpoint("/nowhere")


def test_one_file_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("d" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("d" * 40)
    assert hub.find_file("a/b", "w.safetensors") is None
    (snapshot / "w.safetensors").touch()
    assert hub.find_file("a/b", "w.safetensors") == snapshot / "w.safetensors"
    monkeypatch.setattr(hub, "hf_hub_download", lambda *given, **named: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(UserError, match=r"w.safetensors of 'a/b' cannot be downloaded: no network"):
        hub.find_file("a/b", "w.safetensors", download=True)
