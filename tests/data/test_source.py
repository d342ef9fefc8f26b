import dataclasses

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.source import Source, load_samples


def test_filters_and_limit(write_mvtec) -> None:
    root = str(write_mvtec(categories=("gear", "washer"), normals=4, defects=3))
    base = Source(reader="mvtec_ad", root=root)
    assert len(load_samples([base]).samples) == 22
    test = load_samples([dataclasses.replace(base, splits=["test"], categories=["gear"])]).samples
    assert {(s.split, s.category) for s in test} == {("test", "gear")}
    assert len(test) == 7
    spread = load_samples([dataclasses.replace(base, limit=4)]).samples
    assert len({s.id for s in spread}) == 4
    assert {s.category for s in spread} == {"gear", "washer"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reader": "nope"}, "Unknown reader 'nope'"),
        ({"root": "/no/such/folder"}, "No dataset folder at /no/such/folder"),
        ({"categories": ["bottle"]}, r"No category \['bottle'\]"),
        ({"splits": ["validation"]}, "No samples in"),
    ],
)
def test_user_errors(write_mvtec, changes: dict, message: str) -> None:
    source = dataclasses.replace(Source(reader="mvtec_ad", root=str(write_mvtec())), **changes)
    with pytest.raises(UserError, match=message):
        load_samples([source])


def test_empty_folder(tmp_path) -> None:
    with pytest.raises(UserError, match="No samples in"):
        load_samples([Source(reader="mvtec_ad", root=str(tmp_path))])


def test_the_same_source_twice_is_refused(write_mvtec) -> None:
    source = Source(reader="mvtec_ad", root=str(write_mvtec()))
    with pytest.raises(UserError, match="Two samples share the id"):
        load_samples([source, source])


def test_empty_masks_are_skipped_only_by_rule_and_listed(write_mvtec) -> None:
    root = write_mvtec()
    cv2.imwrite(str(root / "washer/ground_truth/scratch/000_mask.png"), np.zeros((48, 64), np.uint8))
    kept = load_samples([Source(reader="mvtec_ad", root=str(root))])
    assert kept.skipped == []
    skipping = load_samples([Source(reader="mvtec_ad", root=str(root), skip_empty_masks=True)])
    assert [name for name, _ in skipping.skipped] == ["mvtec_ad/washer/test/scratch/000.png"]
    assert len(skipping.samples) == len(kept.samples) - 1
