from pathlib import Path

import pytest

from data.errors import UserError
from data.faults import collect_faults
from data.readers.listing import list_images
from data.readers.pairing import check_mask_folders, pair_masks


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_masks_have_the_stem_of_their_image(tmp_path: Path) -> None:
    images, masks = tmp_path / "i", tmp_path / "m"
    touch(images / "0.JPG", images / "1.png", masks / "0.png", masks / "1_mask.jpg")
    assert pair_masks(list_images(images), masks) == [masks / "0.png", masks / "1_mask.jpg"]


def test_an_image_may_lack_its_mask_where_that_means_normal(tmp_path: Path) -> None:
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    touch(tmp_path / "m/b.png")
    assert pair_masks(images, tmp_path / "m", required=False) == [None, tmp_path / "m/b.png"]


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["0.png"], [], r"Image without its mask: .*i/0\.png needs .*m/0_mask\.png"),
        (["0.png"], ["0.png", "7.png"], r"Mask without its image: .*m/7\.png"),
        (["0.png"], ["0.png", "0_mask.png"], r"Two masks for one image: .*m/0\.png and .*m/0_mask\.png for .*i/0\.png"),
        (["0.png"], ["0.png", "0.jpg"], r"Two masks for one image"),
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
    with pytest.raises(UserError, match=r"Mask without its image: .*hole/0\.png"):
        check_mask_folders(tmp_path, ["cut"])


def test_collected_faults_leave_the_pairs(tmp_path: Path) -> None:
    images = [tmp_path / f"i/{stem}.png" for stem in "abc"]
    touch(*(tmp_path / f"m/{name}" for name in ("a.png", "b.png", "b_mask.png", "z.png")), tmp_path / "m/cut/0.png")
    with collect_faults() as faults:
        assert pair_masks(images, tmp_path / "m") == [tmp_path / "m/a.png", tmp_path / "m/b.png", None]
        check_mask_folders(tmp_path / "m", {"hole"})
    assert [(fault.code, fault.file.name) for fault in faults] == [
        ("bad-annotation", "b_mask.png"),
        ("orphan-mask", "z.png"),
        ("missing-mask", "c_mask.png"),
        ("orphan-mask", "0.png"),
    ]
