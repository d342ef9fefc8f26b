from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.sample import load_mask
from data.source import Source, load_samples
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.mvtec import SoundSplit, folder_of, product_folder, unusable, write_mvtec
from eval.judgements.truth import read_truth
from tests.eval.judgements.judged import judged, photo, region, square


def fill(log: JudgementLog) -> None:
    def add(seed: int, finding: Finding, mask: np.ndarray | None = None, **values: object) -> None:
        log.append(judged(photo(seed), finding, photo=f"{seed}.png", **values), photo(seed), mask)

    add(0, Finding.fine)
    add(1, Finding.accepted, verdict="ok")
    add(2, Finding.accepted, square(), regions=(region("long scratch"),))
    add(3, Finding.redrawn, square(left=4), regions=(region("dent", left=4),))
    add(4, Finding.redrawn, square(), category="")
    add(5, Finding.wrong_class, square(), regions=(region(),))
    add(6, Finding.accepted, regions=(region("dent"),))


@pytest.mark.parametrize(("reader", "sound"), [("folder", SoundSplit.test), ("mvtec_ad", SoundSplit.train)])
def test_our_readers_read_it_back(log: JudgementLog, tmp_path: Path, reader: str, sound: SoundSplit) -> None:
    fill(log)
    written = write_mvtec(tmp_path / "out", read_truth(log.folder), "part", sound)
    assert dict(written.counts) == {"good": 2, "long scratch": 1, "dent": 1, "defect": 1}
    assert written.skipped == [
        ("5.png", "wrong class, and nobody named the right one"),
        ("6.png", "a defect without a mask"),
    ]
    samples = load_samples([Source(reader=reader, root=str(tmp_path / "out"))]).samples
    seen = {(s.category, s.split, s.defect, s.image.read_bytes()) for s in samples}
    assert seen == {
        ("gear", sound.value, None, photo(0)),
        ("gear", sound.value, None, photo(1)),
        ("gear", "test", "long scratch", photo(2)),
        ("gear", "test", "dent", photo(3)),
        ("part", "test", "defect", photo(4)),
    }
    masks = {s.defect: load_mask(s, (40, 60)) for s in samples if s.defect}
    assert np.array_equal(masks["dent"], square(left=4)) and np.array_equal(masks["long scratch"], square())


def test_names_that_mean_something_else_in_the_layout_are_told_from_it() -> None:
    assert [folder_of(name) for name in ("dent", "good", "OK", "", "a/b")] == [
        *("dent", "defect_good", "defect_OK", "defect", "a_b"),
    ]
    assert [product_folder(name) for name in ("gear", "test", "Images", "..")] == [
        *("gear", "test_product", "Images_product", "product"),
    ]


def test_a_defect_needs_a_mask_and_a_class_that_is_not_wrong(log: JudgementLog) -> None:
    fill(log)
    reasons = [unusable(told) for told in read_truth(log.folder).defective]
    assert [bool(reason) for reason in reasons] == [False, False, False, True, True]
