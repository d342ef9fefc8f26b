import json
from collections import Counter
from pathlib import Path

import pytest

from data.errors import UserError
from data.faults import collect_faults
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


def test_groups_are_places_on_the_spindle_or_photographs(write_tree) -> None:
    root = write_tree("bsdata")
    for name in ("KGT3-S-062-A02_crop_0", "KGT3-S-062-A02_crop_4"):
        (root / f"data/{name}.jpg").write_bytes((root / "data/a.jpg").read_bytes())
    wear = {"a": ["01_second", "01_first"], "b": ["01_first"], "KGT3-S-062-A02_crop_0": []}
    records = [{"filename": f"{name}.jpg", "train_test_split": None, "wear_dev": dev} for name, dev in wear.items()]
    (root / "image_data.json").write_text(json.dumps({"images": records}))
    assert {sample.image.stem: sample.group for sample in read_bsdata(root)} == {
        "KGT3-S-062-A02_crop_0": "bsdata/KGT3-S-062-A02",
        "KGT3-S-062-A02_crop_4": "bsdata/KGT3-S-062-A02",
        "a": "bsdata/01_first",
        "b": "bsdata/01_first",
    }


def test_groups_of_the_real_set(real_data: Path) -> None:
    counts = Counter(sample.group for sample in read_bsdata(real_data / "datasets/bsdata"))
    sequences = [count for group, count in counts.items() if "KGT" not in group]
    assert sequences == [69] * 15
    assert sum(counts.values()) == 1104
    assert max(count for group, count in counts.items() if "KGT" in group) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("label/b.json", "[]", r"Not a labelme polygon file: .*b\.json"),
        ("label/b.json", '{"shapes": [{"points": [1]}]}', r"Not a labelme polygon file: .*b\.json"),
        ("label/b.json", '{"sha', r"Not valid JSON: .*b\.json"),
        ("image_data.json", '{"images": 3}', r"image_data\.json: no list 'images'"),
        ("image_data.json", '{"images": [{}]}', r"image_data\.json: no str 'filename'"),
    ],
)
def test_a_malformed_file_is_named(write_tree, name: str, text: str, message: str) -> None:
    root = write_tree("bsdata")
    (root / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_bsdata(root)


def test_an_unreadable_label_is_left_out_while_faults_are_collected(write_tree) -> None:
    root = write_tree("bsdata")
    (root / "label/b.json").write_text('{"shapes": [')
    with collect_faults() as faults:
        assert [sample.image.stem for sample in read_bsdata(root)] == ["a"]
    assert [fault.file for fault in faults] == [root / "label/b.json"]
