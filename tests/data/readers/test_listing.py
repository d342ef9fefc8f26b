import os
from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.listing import index_by_stem, list_folders, list_images, match_masks


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_lists_are_sorted_and_leave_hidden_and_foreign_files_out(tmp_path: Path) -> None:
    touch(
        *[tmp_path / name for name in ("b.PNG", "a.jpg", "._a.jpg", "Thumbs.db", "ü ö.jpeg", "z/x.png", ".git/x.png")]
    )
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "ü ö.jpeg"]
    assert list_folders(tmp_path) == [tmp_path / "z"]
    assert list_images(tmp_path / "none") == list_folders(tmp_path / "a.jpg") == []


def test_links_to_real_files_and_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store/a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.png").symlink_to(tmp_path / "store/a.png")
    (tmp_path / "set/folder").symlink_to(tmp_path / "store")
    assert [path.name for path in list_images(tmp_path / "set")] == ["a.png"]
    assert [path.name for path in list_folders(tmp_path / "set")] == ["folder"]


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


def test_masks_match_by_stem(tmp_path: Path) -> None:
    images = [tmp_path / "a.JPG", tmp_path / "b.JPG", tmp_path / "c.JPG"]
    masks = [tmp_path / "m/a.png", tmp_path / "m/b_mask.png"]
    assert match_masks(images, masks, "_mask") == {"a": masks[0], "b": masks[1]}
    with pytest.raises(UserError, match=r"Mask for no image: .*m/z\.png"):
        match_masks(images, [tmp_path / "m/z.png"])
    with pytest.raises(UserError, match=r"Two masks for one image: .*a\.png and .*a_mask\.png"):
        match_masks(images, [tmp_path / "m/a.png", tmp_path / "m/a_mask.png"], "_mask")
    with pytest.raises(UserError, match=r"Two images of one name: .*a\.JPG and .*a\.png"):
        index_by_stem([tmp_path / "a.JPG", tmp_path / "a.png"])
