import dataclasses
import gc
import sys

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.plugins.trust import allow
from data.readers.registry import READERS
from data.source import DataConfig, Source, check_source, load_samples


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
        ({"reader": "mvtec_da"}, r"Unknown reader 'mvtec_da'\. Did you mean mvtec_ad\?"),
        ({"root": "$EIAD_DATA/bsdata"}, r"Set the environment variable EIAD_DATA first: its folder holds bsdata\."),
        (
            {"root": "/no/such/folder"},
            r"No dataset folder at /no/such/folder .*\. Get it: download MVTec AD",
        ),
        ({"root": "/no/data/seen"}, r"Make it: python -m scripts\.make_synthetic run_dir=/no\."),
        ({"reader": "bsdata", "root": "$EIAD_DATA/bsdata"}, r"Get it: git clone \S+ \$EIAD_DATA/bsdata\."),
        ({"reader": "photos", "root": "/no/such"}, r"\(reader 'photos'\)\. Check the path\."),
        ({"categories": ["bottle"]}, r"No category \['bottle'\]"),
        ({"splits": ["validation"]}, r"splits validation in .* It has: test \(4 images\), train \(2 images\)\. Choose"),
        (
            {"splits": ["validation"], "categories": ["washer"]},
            r"It has of washer: test \(4 images\), train \(2 images\)",
        ),
    ],
)
def test_user_errors(write_mvtec, changes: dict, message: str) -> None:
    source = dataclasses.replace(Source(reader="mvtec_ad", root=str(write_mvtec())), **changes)
    with pytest.raises(UserError, match=message):
        load_samples([source])


def test_a_source_is_checked_without_being_listed(tmp_path) -> None:
    check_source(Source(reader="mvtec_ad", root=str(tmp_path)))  # nothing is there to list
    with pytest.raises(UserError, match="No dataset folder at /no/such"):
        check_source(Source(reader="mvtec_ad", root="/no/such"))
    with pytest.raises(UserError, match="no option 'images'"):
        check_source(Source(reader="mvtec_ad", root=str(tmp_path), options={"images": "rgb"}))


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


@pytest.mark.parametrize(
    ("reader", "options", "message"),
    [
        ("mvtec_ad", {"images": "rgb"}, r"Reader 'mvtec_ad' has no option 'images'\. It has none\."),
        ("pd_real", {"image": "rgb"}, r"no option 'image'\. It has: images, masks, normal\."),
        ("pd_real", {"images": 3}, r"Option images=3 of reader 'pd_real' must be str\."),
        ("real_iad", {"resolution": [256]}, r"Option resolution=\[256\] .* must be str \| int\."),
        ("folder", {"threshold": True}, r"Option threshold=True of reader 'folder' must be int\."),
    ],
)
def test_bad_options_are_named(write_mvtec, reader: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_samples([Source(reader=reader, root=str(write_mvtec()), options=options)])


def test_options_reach_the_reader(write_mvtec) -> None:
    source = Source(reader="folder", root=str(write_mvtec()), options={"threshold": 127})
    assert {sample.mask.threshold for sample in load_samples([source]).samples if sample.mask} == {127}


def test_every_reader_fails_readably_on_an_empty_folder(tmp_path) -> None:
    for reader in READERS:
        with pytest.raises(UserError):
            load_samples([Source(reader=reader, root=str(tmp_path))])


def test_the_garbage_collector_runs_again_after_a_failure(tmp_path) -> None:
    with pytest.raises(UserError):
        load_samples([Source(reader="real_iad", root=str(tmp_path))])
    assert gc.isenabled()


def test_ddqa_asks_about_the_sources_that_are_named() -> None:
    sources = [Source(reader=reader, root="r") for reader in ("bsdata", "rsdd", "vision")]
    data = DataConfig(train=sources, zero_shot=sources[:1])
    assert data.asked("train") == sources
    named = dataclasses.replace(data, questions=["vision", "bsdata"])
    assert named.asked("train") == [sources[0], sources[2]]
    assert named.asked("zero_shot") == sources[:1]
    with pytest.raises(UserError, match="eyecandies"):
        dataclasses.replace(data, questions=["eyecandies"]).asked("train")


OWN = """
from data.sample import Sample

def read(root, *, kind: str = "bolt", strict: bool = False):
    images = sorted(root.rglob("*.png"))
    return [
        Sample(id=f"own/{path.relative_to(root)}", dataset="own", category=kind, split="test", image=path)
        for path in images
    ]
"""


def test_a_reader_of_ones_own_reads_as_any_other(write_mvtec, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    source = Source(reader="source_own:read", root=str(write_mvtec()), limit=3)
    with pytest.raises(UserError, match=r"plugins=\[source_own:read\]"):  # nothing has named it yet
        load_samples([source])
    assert "source_own" not in sys.modules
    allow(source)
    assert {sample.category for sample in load_samples([source]).samples} == {"bolt"}
    nuts = dataclasses.replace(source, options={"kind": "nut", "strict": True}, categories=["nut"])
    assert len(load_samples([nuts]).samples) == 3
    for options, message in (
        ({"kind": 3}, "must be str"),
        ({"strict": 1}, "must be bool"),
        ({"knd": "a"}, "It has: kind"),
    ):
        with pytest.raises(UserError, match=message):
            load_samples([dataclasses.replace(source, options=options)])
    with pytest.raises(UserError, match="No dataset folder at /no/such"):
        load_samples([dataclasses.replace(source, root="/no/such")])
