from pathlib import Path

import pytest

from data.errors import UserError
from data.masks import defect_regions
from data.readers.bsdata import read_bsdata
from data.sample import load_image, load_mask


def test_reads_the_layout_without_the_stray_copy(write_tree) -> None:
    normal, pitted = read_bsdata(write_tree("bsdata"))
    assert (normal.is_normal, normal.split) == (True, "none")
    assert (pitted.defect, pitted.split) == ("pitting", "test")
    mask = load_mask(pitted, load_image(pitted.image).shape[:2])
    assert mask[10, 15]
    assert not mask[20, 25]
    assert len(defect_regions(pitted.mask, mask)) == 1


def test_a_label_without_its_image_is_named(write_tree) -> None:
    root = write_tree("bsdata")
    (root / "data/b.jpg").unlink()
    with pytest.raises(UserError, match=r"Label without its image: .*b\.json"):
        read_bsdata(root)


def test_the_real_set(real_data: Path) -> None:
    listed = read_bsdata(real_data / "datasets/bsdata")
    assert len(listed) == 1104
    assert sum(not s.is_normal for s in listed) == 394
    assert sum(len(s.mask.points) for s in listed if s.mask) == 485
    assert {split: sum(s.split == split for s in listed) for split in ("train", "test", "none")} == {
        "train": 324,
        "test": 70,
        "none": 710,
    }
