"""The defect regions as annotations that people can correct: COCO's form, and one labelme file a photo.

CVAT, Label Studio and labelme open them. Outlines run along the corners of pixels, holes are filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.files import write_json
from data.masks import MaskFile, components, decode_mask
from data.sample import MaskArray
from eval.inspection.rows import Row

UNNAMED = "defect"
Outline = list[tuple[int, int]]


def write_coco(out: Path, rows: Sequence[Row]) -> None:
    """Writes `OUT/coco.json`: all photos that could be read, and their regions with polygon, box (xywh) and area."""
    names = sorted({region.name or UNNAMED for row in rows for region in row.regions} | {UNNAMED})
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row in rows:
        if row.size == (0, 0):
            continue
        images.append({"id": len(images) + 1, "file_name": row.name, "height": row.size[0], "width": row.size[1]})
        for name, box, area, outline in _outlined(out, row):
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": names.index(name) + 1,
                    "segmentation": [[value for point in outline for value in point]],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names, 1)]
    write_json(out / "coco.json", {"images": images, "annotations": annotations, "categories": categories})


def write_labelme(out: Path, rows: Sequence[Row]) -> None:
    """Writes `OUT/labelme/<photo>.json` for each photo with regions."""
    for row in rows:
        shapes: list[dict[str, Any]] = [
            {
                "label": name,
                "points": [list(point) for point in outline],
                "group_id": None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
            }
            for name, _, _, outline in _outlined(out, row)
        ]
        if not shapes:
            continue
        value: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": str(Path(row.image).resolve()),
            "imageData": None,
            "imageHeight": row.size[0],
            "imageWidth": row.size[1],
        }
        stem = Path(row.mask).relative_to("masks").with_suffix(".json")
        write_json(out / "labelme" / stem, value)


def _outlined(out: Path, row: Row) -> Iterator[tuple[str, tuple[int, int, int, int], int, Outline]]:
    """Name, box, area and outline of each region, from the mask that was written."""
    if not row.regions or not row.mask:
        return
    mask = decode_mask(MaskFile(out / row.mask))
    names: dict[tuple[int, ...], str] = {region.box: region.name or UNNAMED for region in row.regions}
    for region in components(mask):
        x0, y0, x1, y1 = region.box
        outline = trace_outline(mask[y0:y1, x0:x1], region.area)
        yield (
            names.get(region.box, UNNAMED),
            region.box,
            region.area,
            [(x + x0, y + y0) for x, y in outline],
        )


def trace_outline(window: MaskArray, area: int) -> Outline:
    """The outer outline of the region that fills a window, along the corners of its pixels.

    Args:
        window: (H, W) bool, cut out by the region's box; parts of other regions may be in it.
        area: Pixels of the region, holes left out.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(window.astype(np.uint8), connectivity=8)
    height, width = window.shape
    index = next(
        one
        for one in range(1, count)
        if stats[one, cv2.CC_STAT_AREA] == area and tuple(stats[one, :4]) == (0, 0, width, height)
    )
    doubled = np.repeat(np.repeat((labels == index).astype(np.uint8), 2, 0), 2, 1)  # each pixel has four corners then
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corners = [((int(x) + 1) // 2, (int(y) + 1) // 2) for x, y in max(contours, key=len)[:, 0]]
    once = [corner for corner, before in zip(corners, [corners[-1], *corners[:-1]], strict=True) if corner != before]
    around = zip([once[-1], *once[:-1]], once, [*once[1:], once[0]], strict=True)
    return [point for before, point, after in around if not _is_between(before, point, after)]


def _is_between(before: tuple[int, int], point: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a point lies on the straight line between its neighbours, which run along rows and columns."""
    (x0, y0), (x1, y1), (x2, y2) = before, point, after
    return (x0 == x1 == x2 and (y1 - y0) * (y2 - y1) > 0) or (y0 == y1 == y2 and (x1 - x0) * (x2 - x1) > 0)
