"""A contact sheet of a dataset: what its masks look like on its images, to be looked at before trusting them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.errors import UserError
from data.files import write_bytes
from data.sample import ImageArray, MaskArray, Sample, load_image, load_mask
from data.source import Source, load_samples

HEADER, PAPER, INK, OUTLINE = 24, 255, (40, 40, 40), (255, 0, 200)
GAP = 4


@dataclass(kw_only=True, slots=True)
class DatasetSheetConfig:
    """What the sheet shows.

    Attributes:
        dataset: Name of the reader that knows the dataset's layout.
        data_root: Folder of the dataset.
        out: PNG to write.
        options: Options of the reader.
        categories: Only these; empty shows all.
        columns: Samples of each category and defect, spread evenly over the listing.
        tile: Height and width of a picture, pixels; the aspect is kept.
    """

    dataset: str
    data_root: str
    out: str
    options: dict[str, Any] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)
    columns: int = 6
    tile: int = 128


def write_dataset_sheet(config: DatasetSheetConfig) -> int:
    """Draws one row a category and defect: each image with its mask outlined, and the mask itself beside it.

    Samples whose mask is empty although they are anomalous are shown with a note instead of a mask.

    Returns:
        Number of rows.

    Raises:
        UserError: If the dataset cannot be read, a number is not positive, or the file cannot be written.
    """
    if config.columns < 1 or config.tile < 16:
        raise UserError(f"columns={config.columns}, tile={config.tile}: give at least 1 column and 16 pixels.")
    source = Source(reader=config.dataset, root=config.data_root, options=config.options, categories=config.categories)
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in load_samples([source]).samples:
        groups[sample.category, sample.defect or "normal"].append(sample)
    rows = [_row(config, f"{category}: {defect} ({len(group)})", group) for (category, defect), group in groups.items()]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))[1]
    write_bytes(Path(config.out), encoded.tobytes())
    return len(rows)


def _row(config: DatasetSheetConfig, title: str, group: Sequence[Sample]) -> ImageArray:
    width = config.columns * (2 * config.tile + GAP)
    strip = np.full((HEADER, width, 3), PAPER, np.uint8)
    cv2.putText(strip, title, (4, HEADER - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    count = min(config.columns, len(group))
    chosen = [group[index * len(group) // count] for index in range(count)]
    tiles = np.full((config.tile, width, 3), PAPER, np.uint8)
    for place, sample in enumerate(chosen):
        left = place * (2 * config.tile + GAP)
        tiles[:, left : left + 2 * config.tile] = _pair(sample, config.tile)
    return np.vstack([strip, tiles])


def _pair(sample: Sample, tile: int) -> ImageArray:
    """The image with its outline, and the mask, (tile, 2 * tile, 3)."""
    image = load_image(sample.image)
    try:
        mask = load_mask(sample, image.shape[:2])
    except UserError:
        note = np.full((tile, tile, 3), PAPER, np.uint8)
        cv2.putText(note, "no usable mask", (4, tile // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1, cv2.LINE_AA)
        return np.hstack([_fit(image, tile), note])
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thick = max(1, round(max(image.shape[:2]) / tile))
    marked = cv2.drawContours(image.copy(), outlines, -1, OUTLINE, thick)
    return np.hstack([_fit(marked, tile), _fit(_as_picture(mask), tile)])  # type: ignore[arg-type]


def _as_picture(mask: MaskArray) -> ImageArray:
    return np.repeat(mask.astype(np.uint8)[..., None] * 255, 3, axis=2)


def _fit(image: ImageArray, tile: int) -> ImageArray:
    """The picture at its aspect in the middle of a square."""
    height, width = image.shape[:2]
    factor = tile / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    square = np.full((tile, tile, 3), 210, np.uint8)
    top, left = (tile - size[1]) // 2, (tile - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square
