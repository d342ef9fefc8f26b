import pytest

from data.errors import UserError
from data.readers.mvtec_ad import read_mvtec_ad
from data.sample import load_image, load_mask


def test_reads_the_layout(write_mvtec) -> None:
    listed = read_mvtec_ad(write_mvtec(categories=("b_second", "a_first"), normals=2, defects=3))
    assert [s.category for s in listed] == ["a_first"] * 7 + ["b_second"] * 7
    bad = [s for s in listed if not s.is_normal]
    assert {s.defect for s in bad} == {"scratch"}
    for sample in bad:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == 64


def test_a_missing_mask_is_named(write_mvtec) -> None:
    root = write_mvtec()
    (root / "washer/ground_truth/scratch/001_mask.png").unlink()
    with pytest.raises(UserError, match=r"test/scratch/001\.png needs .*001_mask\.png"):
        read_mvtec_ad(root)


@pytest.mark.parametrize("mask", ["ground_truth/scratch/009_mask.png", "ground_truth/dent/000_mask.png"])
def test_a_mask_for_no_image_is_named(write_mvtec, mask: str) -> None:
    root = write_mvtec()
    (root / "washer" / mask).parent.mkdir(exist_ok=True)
    (root / "washer" / mask).write_bytes((root / "washer/ground_truth/scratch/000_mask.png").read_bytes())
    with pytest.raises(UserError, match=rf"Mask without its image: .*{mask}"):
        read_mvtec_ad(root)


def test_a_symlink_loop_is_named(write_mvtec) -> None:
    root = write_mvtec()
    (root / "again").symlink_to(root)
    with pytest.raises(UserError, match=r"Symlink loop: .*again leads back to"):
        read_mvtec_ad(root)
