from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.masks import Polygons, components, read_mask
from data.pixels.shapes import Style
from eval.inspection.annotations import trace_outline, write_coco, write_labelme
from eval.inspection.decision import Verdict
from eval.inspection.rows import RegionRow, Row


def blobs(seed: int) -> np.ndarray:
    """Ragged regions, with single pixels and diagonal neighbours, without holes."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(40, 56)), (0, 0), 1.2)
    mask = (noise > 0.25).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED).astype(bool)


def write_result(out: Path, mask: np.ndarray, names: list[str | None]) -> Row:
    (out / "masks" / "a").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out / "masks" / "a" / "1.png"), mask.astype(np.uint8) * 255)
    regions = tuple(
        RegionRow(box=region.box, area=region.area, place="left", name=name, action="ask")
        for region, name in zip(components(mask), names, strict=False)
    )
    return Row(
        image=str(out / "a" / "1.jpg"),
        name="a/1.jpg",
        key="k",
        verdict=Verdict.defect,
        score=1.0,
        threshold=0.5,
        regions=regions,
        size=mask.shape,
        mask="masks/a/1.png",
    )


@pytest.mark.parametrize("seed", range(6))
def test_outlines_drawn_again_are_the_mask(seed: int) -> None:
    mask = blobs(seed)
    for region in components(mask):
        x0, y0, x1, y1 = region.box
        outline = trace_outline(mask[y0:y1, x0:x1], region.area)
        drawn = np.zeros(((y1 - y0) * 4, (x1 - x0) * 4), np.uint8)  # four pixels a pixel: corners are then clear
        cv2.fillPoly(drawn, [4 * np.array(outline)], 1)
        inside = drawn[2::4, 2::4].astype(bool)
        assert inside.sum() == region.area and not (inside & ~mask[y0:y1, x0:x1]).any()


def test_labelme_files_are_read_back_as_the_mask(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[3:9, 5:20] = mask[15:25, 30:38] = True
    write_labelme(tmp_path, [write_result(tmp_path, mask, ["scratch", None])])
    told = json.loads((tmp_path / "labelme" / "a" / "1.json").read_text())
    assert (told["imageHeight"], told["imageWidth"], told["imagePath"]) == (30, 40, str(tmp_path / "a" / "1.jpg"))
    assert [shape["label"] for shape in told["shapes"]] == ["scratch", "defect"]
    points = tuple(tuple((float(x), float(y)) for x, y in shape["points"]) for shape in told["shapes"])
    read = read_mask(Polygons(points, tmp_path / "1.json", style=Style.COCO), (30, 40))
    assert np.array_equal(read, mask)


def test_coco_holds_all_photos_and_their_regions(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[3:9, 5:20] = mask[15:25, 30:38] = True
    row = write_result(tmp_path, mask, ["scratch", "stain"])
    sound = Row(image="b.jpg", name="b.jpg", key="k", verdict=Verdict.ok, score=0.0, threshold=0.5, size=(10, 20))
    lost = Row(image="c.jpg", name="c.jpg", key="", verdict=Verdict.unreadable, threshold=0.5)
    write_coco(tmp_path, [row, sound, lost])
    told = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in told["images"]] == ["a/1.jpg", "b.jpg"]
    names = {category["id"]: category["name"] for category in told["categories"]}
    found = {names[one["category_id"]]: one for one in told["annotations"]}
    assert found["scratch"]["bbox"] == [5, 3, 15, 6] and found["scratch"]["area"] == 90
    assert found["scratch"]["segmentation"] == [[5, 3, 5, 9, 20, 9, 20, 3]]
    assert found["stain"]["image_id"] == 1 and found["stain"]["iscrowd"] == 0
