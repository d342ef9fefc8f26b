from __future__ import annotations

from pathlib import Path

from data.files import read_json
from data.image_size import read_size
from eval.judgements.coco import write_annotations
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.truth import read_truth
from tests.eval.judgements.judged import judged, photo, region, square


def test_regions_become_annotations_and_sound_photos_have_none(log: JudgementLog, tmp_path: Path) -> None:
    mask = square(left=2) | square(left=30, side=5)
    names = (region("dent", left=2), region("crack", left=30, side=5))
    log.append(judged(photo(0), Finding.redrawn, regions=names), photo(0), mask)
    log.append(judged(photo(1), Finding.fine), photo(1))
    log.append(judged(photo(2), Finding.accepted), photo(2), square())
    log.append(judged(photo(3), Finding.accepted, photo="bare.png"), photo(3))
    written = write_annotations(tmp_path / "out", read_truth(log.folder))
    assert dict(written.counts) == {"crack and dent": 1, "good": 1, "defect": 1}
    assert written.skipped == [("bare.png", "a defect without a mask")]
    found = read_json(tmp_path / "out" / "coco.json")
    names_by_id = {one["id"]: one["name"] for one in found["categories"]}
    drawn = {(one["image_id"], names_by_id[one["category_id"]]): one for one in found["annotations"]}
    assert set(drawn) == {(1, "dent"), (1, "crack"), (3, "defect")}
    assert drawn[1, "crack"]["bbox"] == [30, 10, 5, 5] and drawn[1, "crack"]["area"] == 25
    assert sorted(drawn[3, "defect"]["segmentation"][0]) == sorted([30, 10, 38, 10, 38, 18, 30, 18])
    for image in found["images"]:
        path = tmp_path / "out" / "images" / image["file_name"]
        assert read_size(path) == (image["height"], image["width"])
    assert len(found["images"]) == 3
