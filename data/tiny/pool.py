"""A pool of generic scenes in memory, drawn once and shown many times under the eight symmetries of the square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.masks import Box
from data.sample import resize_image
from data.tiny.captions import KINDS, Fact, Facts, name_surface
from data.tiny.scenes import make_scene

CELL_SHARE = 0.12  # of a cell's pixels that a mark must cover to count there


@dataclass(kw_only=True, slots=True)
class ScenePoolConfig:
    """What to draw.

    Attributes:
        count: Number of scenes.
        draw_size: Side at which scenes are drawn before they are resized, in pixels.
        crowded_share: Share of scenes with three to seven marks, which teach looking faster than one mark would.
        clutter: Share of the objects with harmless detail, so that not every detail is taken for a mark.
        wild: Share of the scenes that look like photographs.
    """

    count: int = 3000
    draw_size: int = 128
    crowded_share: float = 0.25
    clutter: float = 0.8
    wild: float = 0.0


@dataclass(frozen=True, slots=True)
class ScenePool:
    """Scenes of one size.

    Attributes:
        images: (N, S, S, 3) uint8 RGB.
        kinds: (N, S, S) uint8; 0 where there is no mark, else 1 + the index of its kind in `KINDS`.
        facts: What is true of each; coordinates in pixels of `images`.
        crowded: (N,) bool.
    """

    images: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    facts: list[Facts]
    crowded: NDArray[np.bool_]

    def view(self, index: int, turn: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Facts]:
        """One scene under one of the eight symmetries, `turn` in 0..7: image, kinds and facts."""
        facts, size = self.facts[index], self.images.shape[1]
        image, kinds = (_turn(array[index], turn) for array in (self.images, self.kinds))
        marks = tuple(_turn_fact(mark, turn, size) for mark in facts.marks)
        return image, kinds, Facts(facts.surface, marks, facts.size)


def draw_pool(config: ScenePoolConfig, *, size: int, seed: int, first: int = 0, count: int | None = None) -> ScenePool:
    """Draws a pool of scenes at `size` × `size`; scene i depends on (seed, i) only.

    Args:
        config: What to draw.
        size: Side of the images kept, in pixels.
        seed: Seed.
        first: Number of the first scene.
        count: Number of scenes; None draws `config.count`.
    """
    count = config.count if count is None else count
    images = np.zeros((count, size, size, 3), np.uint8)
    kinds = np.zeros((count, size, size), np.uint8)
    crowded = np.zeros(count, bool)
    facts = []
    for index in range(count):
        rng = np.random.default_rng((seed, first + index))
        crowded[index] = rng.random() < config.crowded_share
        marked = int(rng.integers(3, 8)) if crowded[index] else None
        scene = make_scene(rng, config.draw_size, marks=marked, clutter=config.clutter, wild=config.wild)
        images[index] = resize_image(scene.image, (size, size))
        factor = size / config.draw_size
        marks = []
        for mark in sorted(scene.marks, key=lambda mark: -int(mark.mask.sum())):
            small = cv2.resize(mark.mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.4
            kinds[index][small] = 1 + KINDS.index(mark.defect)
            rows, columns = np.nonzero(mark.mask)
            centre = ((columns.mean() + 0.5) * factor, (rows.mean() + 0.5) * factor)
            marks.append(Fact(mark.defect, Box(*(round(value * factor) for value in mark.box)), centre))
        surface = name_surface(scene.colour, scene.pattern, scene.shape)
        facts.append(Facts(surface, tuple(marks), (size, size)))
    return ScenePool(images, kinds, facts, crowded)


def join_pools(pools: Sequence[ScenePool]) -> ScenePool:
    """One pool of several, in order."""
    images, kinds, crowded = (
        np.concatenate([getattr(pool, name) for pool in pools]) for name in ("images", "kinds", "crowded")
    )
    return ScenePool(images, kinds, [facts for pool in pools for facts in pool.facts], crowded)


def cell_kinds(kinds: NDArray[np.uint8], cells: int) -> NDArray[np.int64]:
    """Kind of mark in each cell of a `cells` × `cells` grid, 0 for none.

    Args:
        kinds: (B, S, S) as in `ScenePool`.
        cells: Cells a side; divides S.

    Returns:
        (B, cells, cells).
    """
    batch, size = kinds.shape[:2]
    side = size // cells
    blocks = kinds.reshape(batch, cells, side, cells, side).transpose(0, 1, 3, 2, 4).reshape(batch, cells, cells, -1)
    shares = np.stack([(blocks == 1 + kind).mean(-1) for kind in range(len(KINDS))], -1)
    return np.where(shares.max(-1) > CELL_SHARE, shares.argmax(-1) + 1, 0)


def _turn(array: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    turned = np.rot90(array, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _turn_fact(mark: Fact, turn: int, size: int) -> Fact:
    (x0, y0, x1, y1), (x, y) = mark.box, mark.centre
    for _ in range(turn % 4):  # a quarter turn to the left takes (x, y) to (y, size - x)
        x0, y0, x1, y1, x, y = y0, size - x1, y1, size - x0, y, size - x
    if turn >= 4:
        x0, x1, x = size - x1, size - x0, size - x
    return Fact(mark.kind, Box(x0, y0, x1, y1), (x, y))
