from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.truth import read_truth
from tests.eval.judgements.judged import judged, photo, region, square


def test_what_each_finding_says_of_a_photo(log: JudgementLog) -> None:
    cases = [
        (Finding.accepted, "ok", (), None, None),
        (Finding.fine, "defect", (region("dent"),), None, None),
        (Finding.accepted, "defect", (region("dent"),), square(), "dent"),
        (Finding.wrong_class, "defect", (region("crack"), region("dent", left=5, stands=False)), square(), "crack"),
        (Finding.wrong_class, "defect", (region("unknown"),), square(), ""),
        (
            Finding.redrawn,
            "ok",
            (region(), region("dent"), region(" long  scratch")),
            square(),
            "dent and long scratch",
        ),
    ]
    for seed, (finding, verdict, regions, mask, _) in enumerate(cases):
        image = photo(seed)
        log.append(judged(image, finding, verdict=verdict, regions=regions, photo=f"{seed}.png"), image, mask)
    image = photo(99)
    log.append(judged(image, verdict="unsure", photo="open.png", model="m2"), image, square())
    truth = read_truth(log.folder)
    assert [told.defect for told in truth.told] == [case[4] for case in cases]
    assert [told.mask is not None for told in truth.told] == [case[3] is not None for case in cases]
    assert [told.lacks_class for told in truth.told] == [False, False, False, False, True, False]
    assert (len(truth.sound), len(truth.defective)) == (2, 4)
    assert truth.skipped == [("open.png", "accepted as unsure: nobody said whether there is a defect")]
    assert truth.told[0].image.read_bytes() == photo(0)


def test_a_later_word_takes_back_an_earlier_one(log: JudgementLog) -> None:
    image = photo()
    log.append(judged(image, regions=(region("dent"),)), image, square())
    log.append(judged(image, Finding.fine, model="m2"), image)
    truth = read_truth(log.folder)
    assert [told.defect for told in truth.told] == [None]
    assert truth.models == {"m2": 1}


def test_each_region_gets_the_name_of_the_box_that_covers_it(log: JudgementLog) -> None:
    image = photo()
    mask = square(left=2, top=2, side=4) | square(left=30, top=10, side=8) | square(left=50, top=30, side=3)
    regions = (region("dent", left=31, top=11, side=9), region("crack", left=1, top=1, side=6))
    log.append(judged(image, Finding.redrawn, regions=regions), image, mask)
    (told,) = read_truth(log.folder).told
    assert [(tuple(found.box), name) for found, name in told.regions()] == [
        ((30, 10, 38, 18), "dent"),
        ((2, 2, 6, 6), "crack"),
        ((50, 30, 53, 33), ""),  # two names, and no box near it
    ]


def test_one_name_is_that_of_all_regions(log: JudgementLog) -> None:
    image = photo()
    mask = np.logical_or(square(left=2), square(left=40))
    log.append(judged(image, Finding.redrawn, regions=(region("dent", left=2),)), image, mask)
    (told,) = read_truth(log.folder).told
    assert [name for _, name in told.regions()] == ["dent", "dent"]


def test_photos_of_other_models_are_counted_and_those_of_other_products_left_out(log: JudgementLog) -> None:
    for seed, (category, model) in enumerate([("gear", "m1"), ("", "m2"), ("nut", "m1")]):
        log.append(judged(photo(seed), Finding.fine, category=category, model=model, photo=f"{seed}.png"), photo(seed))
    truth = read_truth(log.folder)
    assert truth.models == {"m1": 2, "m2": 1} and (truth.count_others("m1"), truth.count_others("m3")) == (1, 3)
    gear = truth.of_product("gear")
    assert [told.judgement.category for told in gear.told] == ["gear", ""]
    assert gear.skipped == [("2.png", "judged as another product than gear")]


def test_an_empty_log_is_told(log: JudgementLog) -> None:
    with pytest.raises(UserError, match="No judgements in"):
        read_truth(log.folder)


def test_photos_of_which_nothing_is_told_are_known_by_content(log: JudgementLog, tmp_path: Path) -> None:
    names = ("judged.png", "copy.png", "open.png", "fresh.png")
    for name, seed in zip(names, (0, 0, 1, 2), strict=True):
        (tmp_path / name).write_bytes(photo(seed))
    log.append(judged(photo(0)), photo(0), square())
    log.append(judged(photo(1), verdict="unsure"), photo(1), square())
    left = read_truth(log.folder).leaves(tmp_path / name for name in names)
    assert left == {tmp_path / "open.png", tmp_path / "fresh.png"}  # nobody said what the open one is
