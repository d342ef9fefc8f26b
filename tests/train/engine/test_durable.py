import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from data.errors import UserError
from train.engine import durable
from train.engine.durable import MARGIN, check_space, replace_durably, sync_tree

Usage = namedtuple("Usage", "total used free")


def test_a_file_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "partial").write_text("new")
    (tmp_path / "target").write_text("old")
    replace_durably(tmp_path / "partial", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "new"
    assert not (tmp_path / "partial").exists()


def test_a_directory_is_renamed_when_all_of_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = tmp_path / "partial"
    (partial / "inner").mkdir(parents=True)
    for name in ("b", "inner/a"):
        (partial / name).write_text(name)
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync", synced.append)
    files = sync_tree(partial)
    assert files == [partial / "b", partial / "inner" / "a"]
    assert synced == [*files, partial, partial / "inner"]
    replace_durably(partial, tmp_path / "target")
    assert synced[4:] == [partial, tmp_path]
    assert (tmp_path / "target" / "inner" / "a").read_text() == "inner/a"


def test_too_little_room_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, MARGIN + 100))
    assert check_space(tmp_path, 100, what="the next checkpoint") == MARGIN + 100
    with pytest.raises(UserError, match=r"Too little disk for the next checkpoint: .*16 MiB free"):
        check_space(tmp_path, 101, what="the next checkpoint")
