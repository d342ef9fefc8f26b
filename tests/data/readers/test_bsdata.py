from pathlib import Path

import pytest

from data.errors import UserError
from data.masks import defect_regions
from data.readers.bsdata import read_bsdata
from data.sample import load_image, load_mask
from data.skipping import skip_errors


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


def test_pictures_of_one_place_share_their_group(tmp_path: Path) -> None:
    root = write_bsdata(tmp_path)
    names = [
        "01_200828110014_277500_315_crop_2",
        "01_200908224815_277500_315_crop_1",
        "01_200908224815_277500_270_crop_1",
        "KGT1-S-170-A05_crop_0",
        "KGT1-S-172-A05_crop_0",
        "KGT1-V-172-A05_crop_0",
    ]
    for name in names:
        cv2.imwrite(str(root / f"data/{name}.jpg"), np.zeros((40, 60, 3), np.uint8))
    groups = {sample.image.stem: sample.group for sample in read_bsdata(root)}
    assert groups["a"] is None
    found = [groups[name] for name in names]
    assert found[0] == found[1] and found[3] == found[4]
    assert len(set(found)) == 4


def test_an_unreadable_label_is_left_out_on_request(tmp_path: Path) -> None:
    root = write_bsdata(tmp_path)
    (root / "label/b.json").write_text('{"shapes": [')
    with pytest.raises(UserError, match=r"label/b\.json"):
        read_bsdata(root)
    with skip_errors() as skipped:
        assert [sample.image.stem for sample in read_bsdata(root)] == ["a"]
    assert [item for item, _ in skipped] == ["bsdata/data/b.jpg"]
