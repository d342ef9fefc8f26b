from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.listing import check_mask_folders, list_folders, list_images, pair_masks, path_inside


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


def test_links_that_lead_nowhere_or_in_a_loop_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "a/x.png", tmp_path / "b/x.png", tmp_path / "c/x.png")
    (tmp_path / "a/self.png").symlink_to("self.png")
    (tmp_path / "b/gone.png").symlink_to("nothing.png")
    (tmp_path / "c/up").symlink_to(tmp_path)
    for name, link in (("a", "self.png"), ("b", "gone.png")):
        with pytest.raises(UserError, match=f"Broken link: .*{link} leads nowhere.*delete"):
            list_images(tmp_path / name)
    with pytest.raises(UserError, match=r"Link in a loop: .*c/up leads back to .*Delete"):
        list_folders(tmp_path / "c")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"Broken link: .*loop"):
        list_images(tmp_path / "loop")


@pytest.mark.parametrize("relative", ["../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png", "", "."])
def test_paths_of_a_table_stay_below_the_root(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UserError, match=r"Path outside the dataset: .*table\.csv"):
        path_inside(tmp_path, relative, tmp_path / "table.csv")


def test_a_path_of_a_table(tmp_path: Path) -> None:
    assert path_inside(tmp_path, "a b\\c.png", tmp_path / "t.csv") == tmp_path / "a b/c.png"


def test_masks_have_the_stem_of_their_image(tmp_path: Path) -> None:
    images, masks = tmp_path / "i", tmp_path / "m"
    touch(images / "0.JPG", images / "1.png", masks / "0.png", masks / "1_mask.jpg")
    assert {image.name: mask.name for image, mask in pair_masks(list_images(images), masks).items()} == {
        "0.JPG": "0.png",
        "1.png": "1_mask.jpg",
    }


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["0.png"], [], r"Image without its mask: .*i/0\.png needs .*m/0_mask\.png"),
        (["0.png"], ["0.png", "7.png"], r"Mask without its image: .*m/7\.png \(1 in all\)"),
        (["0.png"], ["0.png", "0_mask.png"], r"Two masks for .*i/0\.png"),
        (["0.png"], ["0.png", "0.jpg"], r"Two masks of one name"),
        (["0.png", "0.JPG"], ["0.png"], r"Two images of one name"),
    ],
)
def test_what_does_not_pair_is_named(tmp_path: Path, images: list[str], masks: list[str], message: str) -> None:
    touch(*(tmp_path / "i" / name for name in images), *(tmp_path / "m" / name for name in masks))
    with pytest.raises(UserError, match=message):
        pair_masks(list_images(tmp_path / "i"), tmp_path / "m")


def test_a_folder_of_masks_needs_its_images(tmp_path: Path) -> None:
    touch(tmp_path / "hole/0.png", tmp_path / "good/0.png")
    check_mask_folders(tmp_path, ["hole"])
    with pytest.raises(UserError, match=r"Masks without their images: .*hole"):
        check_mask_folders(tmp_path, ["cut"])
