"""A contact sheet: every product with every defect, to look at before trusting the factory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data.errors import UserError
from data.factory.catalog import PRODUCTS, Product
from data.factory.defects import PAINTERS
from data.factory.piece import Piece, make_anomalous, make_normal
from data.files import write_bytes
from data.sample import ImageArray

NAMES_WIDTH, HEADER = 150, 26
INK, PAPER, MASK, DECOY = (40, 40, 40), 255, (255, 0, 200), (0, 200, 255)
COLUMNS = ("normal", *PAINTERS, "several", "decoy")


@dataclass(kw_only=True, slots=True)
class SheetConfig:
    """What the sheet shows.

    Attributes:
        out: PNG to write.
        categories: Rows, keys of `PRODUCTS`; empty shows all.
        seed: Seed of the drawings.
        size: Height and width at which products are drawn, pixels.
        tile: Height and width at which they are shown, pixels.
        contours: Whether masks (magenta) and decoys (cyan) are outlined.
    """

    out: str
    categories: list[str]
    seed: int
    size: int
    tile: int
    contours: bool


def write_sheet(config: SheetConfig) -> int:
    """Draws the sheet: a row a product, its normal image, each defect type, several defects, a decoy.

    Returns:
        How many products it shows.

    Raises:
        UserError: If a category is unknown, or the file cannot be written.
    """
    names = config.categories or list(PRODUCTS)
    if unknown := set(names) - set(PRODUCTS):
        raise UserError(f"Unknown categories {sorted(unknown)}. Known: {', '.join(PRODUCTS)}.")
    rows = [_header(config)] + [_row(config, name) for name in names]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))[1]
    write_bytes(Path(config.out), encoded.tobytes())
    return len(names)


def _header(config: SheetConfig) -> ImageArray:
    strip = np.full((HEADER, NAMES_WIDTH + len(COLUMNS) * config.tile, 3), PAPER, np.uint8)
    for k, name in enumerate(COLUMNS):
        _write(strip, name, NAMES_WIDTH + k * config.tile + 4, HEADER - 9)
    return strip


def _row(config: SheetConfig, name: str) -> ImageArray:
    product = PRODUCTS[name]
    title = np.full((config.tile, NAMES_WIDTH, 3), PAPER, np.uint8)
    _write(title, name.replace("_", " "), 6, config.tile // 2 - 6)
    _write(title, product.group.value, 6, config.tile // 2 + 14)
    return np.hstack([title, *(_tile(config, name, k) for k in range(len(COLUMNS)))])


def _tile(config: SheetConfig, name: str, column: int) -> ImageArray:
    rng = np.random.default_rng([config.seed, list(PRODUCTS).index(name), column])
    piece = _piece(PRODUCTS[name], COLUMNS[column], config.size, rng)
    if piece is None:
        return np.full((config.tile, config.tile, 3), PAPER, np.uint8)
    shown = cv2.resize(piece.image, (config.tile, config.tile), interpolation=cv2.INTER_AREA)
    if config.contours and piece.marks:
        mask = cv2.resize(piece.mask.astype(np.uint8), (config.tile, config.tile), interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(cv2.dilate(mask, np.ones((5, 5), np.uint8)), cv2.RETR_EXTERNAL, 1)
        cv2.drawContours(shown, outlines, -1, MASK, 1, cv2.LINE_AA)
        for box in piece.decoys:
            x0, y0, x1, y1 = (value * config.tile // config.size for value in box)
            cv2.rectangle(shown, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), DECOY, 1)
    return shown  # type: ignore[return-value]


def _piece(product: Product, column: str, size: int, rng: np.random.Generator) -> Piece | None:
    """The piece that a column shows; None for a defect that the product cannot have."""
    if column == "normal":
        return make_normal(rng, product, size)
    if column in ("several", "decoy"):
        defect = product.defects[int(rng.integers(len(product.defects)))]
        several = column == "several"
        return make_anomalous(rng, product, defect, size, extras=2 if several else 0, decoy=not several)
    if column not in product.defects:
        return None
    return make_anomalous(rng, product, column, size, extras=0, decoy=False)


def _write(image: ImageArray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
