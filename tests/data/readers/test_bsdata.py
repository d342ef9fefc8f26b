import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.masks import defect_regions
from data.readers.bsdata import read_bsdata
from data.sample import load_image, load_mask


def write_bsdata(root: Path) -> Path:
    for folder in ("data/BSD/test", "label"):
        (root / folder).mkdir(parents=True)
    for name in ("data/a.jpg", "data/b.jpg", "data/BSD/test/b.jpg"):
        cv2.imwrite(str(root / name), np.full((40, 60, 3), 90, np.uint8))
    square = [[10, 5], [20, 5], [20, 15], [10, 15]]
    shapes = [{"label": "Pitting", "points": square, "shape_type": "polygon"}]
    (root / "label/b.json").write_text(json.dumps({"shapes": shapes, "imageHeight": 40, "imageWidth": 60}))
    records = [{"filename": "a.jpg", "train_test_split": None}, {"filename": "b.jpg", "train_test_split": "test"}]
    (root / "image_data.json").write_text(json.dumps({"images": records}))
    return root


def test_reads_the_layout_without_the_stray_copy(tmp_path: Path) -> None:
    normal, pitted = read_bsdata(write_bsdata(tmp_path))
    assert (normal.is_normal, normal.split) == (True, "none")
    assert (pitted.defect, pitted.split) == ("pitting", "test")
    mask = load_mask(pitted, load_image(pitted.image).shape[:2])
    assert mask[10, 15]
    assert not mask[30, 40]
    assert len(defect_regions(pitted.mask, mask)) == 1


def test_a_label_without_its_image_is_named(tmp_path: Path) -> None:
    root = write_bsdata(tmp_path)
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


def test_groups_are_places_on_the_spindle_or_photographs(tmp_path: Path) -> None:
    root = write_bsdata(tmp_path)
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
