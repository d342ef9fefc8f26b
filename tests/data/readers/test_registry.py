import pytest

from data.errors import UserError
from data.readers.registry import READERS
from data.sample import load_image, load_mask


def test_reads_mvtec_ad(write_mvtec) -> None:
    listed = READERS["mvtec_ad"](write_mvtec(categories=("b_second", "a_first"), normals=2, defects=3))
    assert [s.category for s in listed] == ["a_first"] * 7 + ["b_second"] * 7
    bad = [s for s in listed if not s.is_normal]
    assert {s.defect for s in bad} == {"scratch"}
    for sample in bad:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == 64


def test_a_missing_mask_is_named_in_mvtec_ad(write_mvtec) -> None:
    root = write_mvtec()
    (root / "washer/ground_truth/scratch/001_mask.png").unlink()
    with pytest.raises(UserError, match=r"test/scratch/001\.png needs .*001_mask\.png"):
        READERS["mvtec_ad"](root)


@pytest.mark.parametrize("mask", ["ground_truth/scratch/009_mask.png", "ground_truth/dent/000_mask.png"])
def test_a_mask_for_no_image_is_named(write_mvtec, mask: str) -> None:
    root = write_mvtec()
    (root / "washer" / mask).parent.mkdir(exist_ok=True)
    (root / "washer" / mask).write_bytes((root / "washer/ground_truth/scratch/000_mask.png").read_bytes())
    with pytest.raises(UserError, match=rf"Mask without its image: .*{mask}"):
        READERS["mvtec_ad"](root)


def test_a_symlink_loop_is_named(write_mvtec) -> None:
    root = write_mvtec()
    (root / "again").symlink_to(root)
    with pytest.raises(UserError, match=r"Symlink loop: .*again leads back to"):
        READERS["mvtec_ad"](root)


def test_reads_goods_ad(write_tree) -> None:
    samples = READERS["goods_ad"](write_tree("goods_ad"))
    assert [(s.id.split("/", 2)[2], s.defect) for s in samples] == [
        ("train/good/000.jpg", None),
        ("test/cap_half_open/002.jpg", "half-open cap"),
        ("test/good/001.JPG", None),
        ("test/surface_damage/3.jpg", "surface damage"),
    ]
    assert {s.category for s in samples} == {"drink_bottle"}
    assert [s.mask.path.name for s in samples if s.mask] == ["002.png", "3_mask.png"]


def test_a_missing_mask_is_named_in_goods_ad(write_tree) -> None:
    root = write_tree("goods_ad")
    (root / "drink_bottle/ground_truth/cap_half_open/002.png").unlink()
    with pytest.raises(UserError, match=r"Image without its mask: .*cap_half_open/002\.jpg needs .*002_mask\.png"):
        READERS["goods_ad"](root)


def test_reads_a_release_without_training_images(write_tree) -> None:
    samples = READERS["mvtec_ac"](write_tree("mvtec_ac"))
    assert [(s.id, s.split, s.defect) for s in samples] == [
        ("mvtec_ac/screw/test/good/000.png", "test", None),
        ("mvtec_ac/screw/test/scratch_thread/000.png", "test", "scratch thread"),
    ]


def test_hyphens_and_underscores_become_spaces(write_tree) -> None:
    normal, defective = READERS["visa_ac"](write_tree("visa_ac"))
    assert (normal.defect, defective.defect) == (None, "middle breakage small scratches")
    assert load_mask(defective, load_image(defective.image).shape[:2]).sum() == 16
