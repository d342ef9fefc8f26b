import pytest

from data.errors import UserError
from data.readers.ds_mvtec import read_ds_mvtec
from data.sample import load_image, load_mask


def test_class_indices_go_before_colours_in_either_spelling(write_tree) -> None:
    bad = [s for s in read_ds_mvtec(write_tree("ds_mvtec")) if not s.is_normal]
    assert [(s.category, s.defect, s.mask.path.parts[-3]) for s in bad] == [
        ("bottle", "broken large", "mask"),
        ("cable", "bent wire", "rbg_mask"),
        ("capsule", "crack", "rgb_mask"),
    ]
    for sample in bad:
        mask = load_mask(sample, load_image(sample.image).shape[:2])
        assert mask.sum() == 16 and mask[4, 6]


def test_a_missing_mask_is_named(write_tree) -> None:
    root = write_tree("ds_mvtec")
    (root / "bottle/mask/broken_large/000_mask.png").unlink()
    with pytest.raises(UserError, match=r"Image without its mask: .*bottle/image/broken_large/000\.png needs .*mask"):
        read_ds_mvtec(root)


def test_masks_without_images_are_named(write_tree) -> None:
    root = write_tree("ds_mvtec")
    (root / "cable/image/bent_wire/000.png").unlink()
    with pytest.raises(UserError, match=r"Mask without its image: .*000_rbg_mask\.png"):
        read_ds_mvtec(root)
    (root / "cable/image/bent_wire").rmdir()
    with pytest.raises(UserError, match=r"Masks without their images: .*rbg_mask/bent_wire"):
        read_ds_mvtec(root)
