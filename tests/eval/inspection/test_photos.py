from __future__ import annotations

from pathlib import Path

import pytest

from data.errors import UserError
from eval.inspection.photos import find_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("b.JPG", "a/1.png", "a/deep er/1.png", ".hidden.png", "Thumbs.db", "a/._1.png", "note.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "1.png").write_bytes(b"x")
    (root / "out" / "overlays").mkdir(parents=True)
    (root / "out" / "overlays" / "1.png").write_bytes(b"x")
    return root


def names(images: object, *leave_out: Path) -> list[str]:
    return [photo.name for photo in find_photos(str(images), leave_out).photos]


def test_a_folder_is_walked_and_what_is_passed_over_is_counted(folder: Path) -> None:
    found = find_photos(str(folder), [folder / "out"])
    assert [photo.name for photo in found.photos] == ["a/1.png", "a/deep er/1.png", "b.JPG"]
    assert all(photo.path == folder / photo.name for photo in found.photos)
    assert found.skipped == {"hidden or left behind by a system": 4, "no images": 1, "folder of results": 1}


def test_a_file_and_a_pattern(folder: Path) -> None:
    assert names(folder / "b.JPG") == ["b.JPG"]
    assert names(folder / "a" / "*.png") == ["1.png"]
    assert names(f"{folder}/**/*.png", folder / "out") == ["a/1.png", "a/deep er/1.png"]
    odd = folder / "[1].png"
    odd.write_bytes(b"x")
    assert names(odd) == ["[1].png"]  # a file of that name, not a pattern


def test_a_broken_link_is_named_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "lost.png").symlink_to(folder / "nowhere.png")
    found = find_photos(str(folder))
    assert [name for name, _ in found.broken] == ["lost.png"] and "Broken link" in found.broken[0][1]
    assert len(found.photos) == 4


def test_nothing_to_look_at_is_an_error(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"Missing image: .*none"):
        find_photos(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"No images in .*\*\.png"):
        find_photos(str(tmp_path / "*.png"))
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "list.csv").write_text("x")
    with pytest.raises(UserError, match=r"No images in .*empty \(1 no images\). Images end in \.png"):
        find_photos(str(empty))
