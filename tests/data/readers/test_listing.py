import os
from pathlib import Path

import pytest

from data.doctor.tree import walk
from data.errors import UserError
from data.faults import collect_faults
from data.readers.listing import list_files, list_folders, list_images


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_and_folders_are_sorted_and_hidden_ones_left_out(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b.JPG", "a.png", "c.Tiff", "._a.png", "notes.txt", "sub.png/x.png")))
    (tmp_path / ".cache").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.Tiff"]
    assert [path.name for path in list_folders(tmp_path)] == ["sub.png"]
    assert list_images(tmp_path / "none") == list_folders(tmp_path / "none") == []


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store/a.png")
    (tmp_path / "category").symlink_to(tmp_path / "store")
    assert [path.name for path in list_folders(tmp_path)] == ["category", "store"]
    (tmp_path / "store/b.png").symlink_to("a.png")
    assert len(list_images(tmp_path / "category")) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("link.png", "Symlink loop: .*leads to itself"),
        ("gone.png", "Broken link"),
        ("..", "Symlink loop: .*leads back"),
    ],
)
def test_bad_links_are_named(tmp_path: Path, target: str, message: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "link.png").symlink_to(target)
    with pytest.raises(UserError, match=message):
        list_images(folder)
        list_folders(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0)
    with pytest.raises(UserError, match=r"Cannot read .*locked"):
        list_images(folder)


def test_a_folder_that_is_a_bad_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    with pytest.raises(UserError, match=r"Symlink loop: .*loop"):
        list_images(tmp_path / "loop")
    with pytest.raises(UserError, match=r"Broken link: .*gone"):
        list_images(tmp_path / "gone")


def test_collected_faults_leave_the_rest(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "sub/b.json")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.png").symlink_to("nothing")
    with collect_faults() as faults:
        assert list_images(tmp_path) == [tmp_path / "a.png"]
        assert list_folders(tmp_path) == [tmp_path / "sub"]
        assert list_files(tmp_path / "sub", ".json") == [tmp_path / "sub/b.json"]
    found = {(fault.code, fault.file.name) for fault in faults}
    assert found == {("symlink-loop", "up"), ("symlink-loop", "self"), ("broken-link", "gone.png")}


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information", "._a"]
)
def test_what_systems_leave_behind_is_no_part_of_a_dataset(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "bolt").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "._a.png").touch()
    assert list_folders(tmp_path) == [tmp_path / "bolt"]
    assert list_images(tmp_path) == [tmp_path / "a.png"]
    junk = [item.file for item in walk(tmp_path).problems if item.code == "junk-file"]
    assert sorted(junk) == sorted([name, "._a.png"])
