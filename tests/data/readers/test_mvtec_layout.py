import pytest

from data.errors import UserError
from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import load_image


def test_names_splits_and_single_channels(write_tree) -> None:
    samples = read_mvtec_layout(write_tree("mvtec_ad"), "mvtec_ad")
    assert [(s.category, s.split, s.defect) for s in samples[::2]] == [
        ("bottle", "train", None),
        ("bottle", "test", "broken large"),
        ("bottle", "test", None),
        ("grid", "train", None),
        ("grid", "test", "bent"),
        ("grid", "test", None),
    ]
    assert load_image(samples[-1].image).shape == (24, 32, 3)


def test_a_mask_without_its_image_is_named(write_tree) -> None:
    root = write_tree("mvtec_ad")
    (root / "bottle/test/broken_large/001.png").unlink()
    with pytest.raises(UserError, match=r"Mask without its image: .*broken_large/001_mask\.png"):
        read_mvtec_layout(root, "mvtec_ad")
    (root / "bottle/test/broken_large").rename(root / "bottle/test/broken")
    with pytest.raises(UserError, match=r"Masks without their images: .*ground_truth/broken_large"):
        read_mvtec_layout(root, "mvtec_ad")


def test_a_category_that_links_to_its_parent_is_named(write_tree) -> None:
    root = write_tree("mvtec_ad")
    (root / "bottle/test/more").symlink_to(root)
    with pytest.raises(UserError, match=r"Link in a loop: .*bottle/test/more"):
        read_mvtec_layout(root, "mvtec_ad")
