from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.rsdd import read_rsdd
from data.sample import load_image, load_mask


def write_rsdd(root: Path, draw) -> Path:
    for kind, name in (("Type-I", "rail_1"), ("Type-I", "rail_2"), ("Type-II", "rail_1")):
        folder = root / f"{kind} RSDDs dataset"
        draw(folder / "Rail surface images" / f"{name}.jpg")
        draw(folder / "GroundTruth" / f"{name}.jpg", square=255)
    return root


def test_reads_the_layout(tmp_path: Path, draw) -> None:
    listed = read_rsdd(write_rsdd(tmp_path, draw))
    assert [sample.category for sample in listed] == ["type I rail", "type I rail", "type II rail"]
    assert len({sample.id for sample in listed}) == 3
    for sample in listed:
        mask = load_mask(sample, load_image(sample.image).shape[:2])
        assert mask[5:15, 10:20].mean() > 0.9
        assert mask.sum() < 130  # JPEG ringing around the square stays below the threshold


def test_one_type_alone_is_enough(tmp_path: Path, draw) -> None:
    write_rsdd(tmp_path, draw)
    (tmp_path / "Type-II RSDDs dataset").rename(tmp_path / "elsewhere")
    assert len(read_rsdd(tmp_path)) == 2


def test_missing_and_orphaned_masks_are_named(tmp_path: Path, draw) -> None:
    folder = write_rsdd(tmp_path, draw) / "Type-I RSDDs dataset"
    (folder / "GroundTruth/rail_2.jpg").unlink()
    with pytest.raises(UserError, match=r"rail_2\.jpg needs .*GroundTruth/rail_2\.jpg"):
        read_rsdd(tmp_path)
    (folder / "Rail surface images/rail_2.jpg").unlink()
    draw(folder / "GroundTruth/rail_9.jpg", square=255)
    with pytest.raises(UserError, match=r"Mask without its image: .*rail_9\.jpg"):
        read_rsdd(tmp_path)
