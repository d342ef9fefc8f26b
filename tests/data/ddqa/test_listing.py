from pathlib import Path

import cv2
import numpy as np
import pytest

from data.ddqa.config import OnError
from data.ddqa.listing import list_sources
from data.errors import UserError
from data.faults import report
from data.source import Source


def source(root: Path, **changes) -> Source:
    return Source(reader="mvtec_ad", root=str(root), **changes)


def test_without_faults_both_ways_agree(write_mvtec) -> None:
    sources = [source(write_mvtec())]
    assert list_sources(sources, OnError.skip) == list_sources(sources, OnError.stop)


def test_an_image_without_its_mask_is_left_out_once_with_the_readers_reason(write_mvtec) -> None:
    root = write_mvtec(defects=3)
    (root / "washer/ground_truth/scratch/001_mask.png").unlink()
    with pytest.raises(UserError, match="Image without its mask"):
        list_sources([source(root)], OnError.stop)
    listing = list_sources([source(root)], OnError.skip)
    ((item, reason),) = listing.skipped
    assert item == "mvtec_ad/washer/test/scratch/001.png"
    assert "001_mask.png. Add the mask" in reason
    assert item not in {sample.id for sample in listing.samples}
    assert sum(not sample.is_normal for sample in listing.samples) == 2


def test_a_fault_finds_its_image_whatever_its_message_says(write_mvtec, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mvtec(defects=3)
    (root / "washer/ground_truth/scratch/001_mask.png").unlink()

    def say_less(code: str, file: Path, message: str, *image: Path) -> None:
        report(code, file, "No mask.", *image)

    monkeypatch.setattr("data.readers.pairing.report", say_less)
    listing = list_sources([source(root)], OnError.skip)
    assert listing.skipped == [("mvtec_ad/washer/test/scratch/001.png", "No mask.")]


def test_a_mask_for_no_image_is_listed_by_its_file_and_costs_no_sample(write_mvtec) -> None:
    root = write_mvtec(defects=2)
    whole = list_sources([source(root)], OnError.stop).samples
    cv2.imwrite(str(root / "washer/ground_truth/scratch/777_mask.png"), np.zeros((48, 64), np.uint8))
    listing = list_sources([source(root)], OnError.skip)
    assert [item for item, _ in listing.skipped] == ["mvtec_ad/washer/ground_truth/scratch/777_mask.png"]
    assert listing.samples == whole


def test_a_broken_mask_costs_one_sample_also_where_empty_masks_are_skipped(write_mvtec) -> None:
    root = write_mvtec(defects=3)
    (root / "washer/ground_truth/scratch/000_mask.png").write_bytes(b"broken")
    cv2.imwrite(str(root / "washer/ground_truth/scratch/002_mask.png"), np.zeros((48, 64), np.uint8))
    broken = source(root, skip_empty_masks=True)
    with pytest.raises(UserError, match="Corrupt mask"):
        list_sources([broken], OnError.stop)
    listing = list_sources([broken], OnError.skip)
    reasons = dict(listing.skipped)
    assert set(reasons) == {"mvtec_ad/washer/test/scratch/000.png", "mvtec_ad/washer/test/scratch/002.png"}
    assert "Corrupt mask" in reasons["mvtec_ad/washer/test/scratch/000.png"]
    assert sum(not sample.is_normal for sample in listing.samples) == 1


def test_an_unreadable_source_is_listed_and_none_left_is_an_error(write_mvtec, tmp_path: Path) -> None:
    lost = Source(reader="visa", root=str(tmp_path / "nowhere"))
    listing = list_sources([source(write_mvtec()), lost], OnError.skip)
    assert [item for item, _ in listing.skipped] == ["visa/*"]
    with pytest.raises(UserError, match=r"No source is usable.*No dataset folder"):
        list_sources([lost], OnError.skip)


def test_the_same_source_twice_is_refused(write_mvtec) -> None:
    same = source(write_mvtec())
    with pytest.raises(UserError, match="Two samples share the id"):
        list_sources([same, same], OnError.skip)
