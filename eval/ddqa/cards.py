"""Sample cards of DDQA: an image with the region grid and its boxes, the question, its options and its answer."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.ddqa.config import Layout
from data.ddqa.summary import stream_jsonl
from data.ddqa.wording import Task
from data.sample import ImageArray, load_image
from eval.report.cases import encode_picture
from models.contour import ContourConfig, draw_boxes

Row = dict[str, Any]
GRID = (255, 255, 255)


@dataclass(kw_only=True, slots=True)
class CardsConfig:
    """How many cards are shown, and how large.

    Attributes:
        each: Cards per source and task.
        side: Longer side of the picture in pixels.
        quality: JPEG quality.
        seed: Seed of the draw.
    """

    each: int = 2
    side: int = 420
    quality: int = 84
    seed: int = 0


def draw_rows(layout: Layout, config: CardsConfig) -> dict[str, dict[str, list[Row]]]:
    """Draws questions, source → task → rows, in one pass over the files and without holding them.

    A row is drawn when the seeded hash of its image is among the smallest, so all tasks of a source tend to show the
    same images.
    """
    drawn: dict[str, dict[str, list[Row]]] = {}
    for task in Task:
        if not layout.task(task).is_file():
            continue
        best: dict[str, list[tuple[int, str, Row]]] = {}
        for row in stream_jsonl(layout.task(task)):
            digest = hashlib.sha256(f"{config.seed}/{row['id']}".encode()).digest()
            entry = (-int.from_bytes(digest[:8], "big"), row["id"], row)
            heap = best.setdefault(row["dataset"], [])
            if len(heap) < config.each:
                heapq.heappush(heap, entry)
            elif heap and entry[:2] > heap[0][:2]:
                heapq.heapreplace(heap, entry)
        for dataset, heap in best.items():
            drawn.setdefault(dataset, {})[task.value] = [row for _, _, row in sorted(heap, key=lambda e: -e[0])]
    return dict(sorted(drawn.items()))


def find_facts(layout: Layout, ids: set[str]) -> dict[str, Row]:
    """The rows of `samples.jsonl` of some images, by id."""
    return {fact["id"]: fact for fact in stream_jsonl(layout.samples) if fact["id"] in ids}


def make_cards(layout: Layout, config: CardsConfig) -> list[dict[str, Any]]:
    """The cards of each source, as the template wants them.

    Raises:
        UserError: If an image is gone.
    """
    drawn = draw_rows(layout, config)
    ids = {row["id"] for tasks in drawn.values() for rows in tasks.values() for row in rows}
    facts = find_facts(layout, ids)
    return [
        {
            "source": source,
            "cards": [_card(row, facts[row["id"]], config) for rows in tasks.values() for row in rows],
        }
        for source, tasks in drawn.items()
    ]


def _card(row: Row, fact: Mapping[str, Any], config: CardsConfig) -> dict[str, Any]:
    question = row["messages"][0]["content"].removeprefix("<image>").split("\n")[0]
    picture = draw_card(load_image(Path(row["images"][0])), fact["boxes"], config)
    return {
        "id": row["id"],
        "task": row["task"],
        "category": row["category"],
        "defect": row["defect"],
        "question": question,
        "options": [
            {"letter": chr(ord("A") + k), "text": text, "right": row["answer"] == chr(ord("A") + k)}
            for k, text in enumerate(row["options"])
        ],
        "answer": row["answer"],
        "regions": len(fact["boxes"]),
        "picture": encode_picture(picture, config.quality),
    }


def draw_card(image: ImageArray, boxes: Sequence[Sequence[int]], config: CardsConfig) -> ImageArray:
    """Shrinks an image and draws the 3×3 grid and the boxes on it.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: xyxy pixels of the full image.
        config: Size of the picture.
    """
    height, width = image.shape[:2]
    scale = min(1.0, config.side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for k in (1, 2):
        x, y = -(-k * size[0] // 3), -(-k * size[1] // 3)
        for band in (picture[:, x : x + 1], picture[y : y + 1]):
            band[:] = (0.45 * band + 0.55 * np.array(GRID)).astype(np.uint8)
    scaled = [(round(a * scale), round(b * scale), round(c * scale), round(d * scale)) for a, b, c, d in boxes]
    return draw_boxes(picture, scaled, ContourConfig(line_width=0.005))
