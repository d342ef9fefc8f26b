"""Referring segmentation on generic scenes: several marks in a picture, and a sentence that means one of them.

This is what the pre-training of real LLaVA and SAM checkpoints brings and a model made from scratch lacks: that a
description can single out one of two look-alikes, that "no visible defect" means no pixel, and that a general request
means every mark. No product, category or image of a dataset occurs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT, compose_description
from data.ddqa.regions import REGIONS, region_of
from data.factory.defects import PAINTERS
from data.sample import ImageArray, MaskArray, resize_image
from data.tiny.scenes import Scene, make_scene
from data.training.grounding import AugmentConfig, GroundingItem, augment_image, build_prompt

KINDS = tuple(PAINTERS)
ANY_KIND = "defect"
NOUNS = ("part", "plate", "disc", "panel", "sheet", "ring", "block", "cover", "component", "surface")


@dataclass(kw_only=True, slots=True)
class ReferringConfig:
    """How many scenes, and what is said about them.

    Attributes:
        scenes: Distinct scenes; each is shown under the eight symmetries of the square, so texts change with it.
        prompts: Sentences per scene; they share the cost of encoding the image.
        marks: Relative frequency of scenes with 0, 1, 2, … marks.
        fixed_share: Share of scenes of which one sentence is the general request, which means all marks.
        misplaced_share: Share of the scenes with marks of which one sentence names a place without any: it means all
            marks. A description is evidence, not an order.
        denied_share: Share of the scenes with marks of which one sentence denies them: it means all marks too.
        invented_share: Share of the scenes without marks of which one sentence claims one: it means nothing.
        untyped_share: Share of the sentences that say "defect" instead of its type, so that the place must count.
        draw_size: Side at which scenes are drawn before they are resized, in pixels; None draws them as they are shown.
        clutter: Share of the objects with harmless detail.
        wild: Share of the scenes that look like photographs.
        augment: Photometric augmentation.
    """

    scenes: int = 1200
    prompts: int = 3
    marks: list[float] = field(default_factory=lambda: [0.12, 0.2, 0.35, 0.2, 0.13])
    fixed_share: float = 0.35
    misplaced_share: float = 0.15
    denied_share: float = 0.05
    invented_share: float = 0.3
    untyped_share: float = 0.4
    draw_size: int | None = None
    clutter: float = 0.0
    wild: float = 0.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True, slots=True)
class Scenery:
    """One scene under one symmetry: image (H, W, 3) uint8 RGB and its marks as (defect, mask (H, W) bool)."""

    image: ImageArray
    marks: list[tuple[str, MaskArray]]


class ReferringScenes:
    """Referring items; scene `index` depends on (seed, index), what is said about it on the epoch too.

    Attributes:
        seed: Seed of the scenes and the sentences.
        augment: Photometric augmentation.
    """

    def __init__(self, config: ReferringConfig, *, size: int, seed: int) -> None:
        self._config, self._size, self.seed = config, size, seed
        self.augment = config.augment
        self._scenes: dict[int, Scene] = {}
        shares = np.asarray(config.marks, float)
        self._shares = shares / shares.sum()

    def __len__(self) -> int:
        """Number of distinct scenes."""
        return self._config.scenes

    def get(self, epoch: int, index: int) -> GroundingItem:
        """A scene with its sentences."""
        rng = np.random.default_rng([self.seed, epoch, index, 1])
        scenery = self.show(epoch, index)
        image = augment_image(scenery.image, self._config.augment, rng)
        prompts, masks = self._sentences(scenery.marks, image.shape[:2], rng)
        return GroundingItem(f"scene {index}", image, prompts, masks)

    def show(self, epoch: int, index: int) -> Scenery:
        """A scene under the symmetry of this epoch, before augmentation."""
        if index not in self._scenes:
            self._scenes[index] = self._draw(np.random.default_rng([self.seed, index]))
        scene, turn = self._scenes[index], int(np.random.default_rng([self.seed, epoch, index, 0]).integers(8))
        return Scenery(_turn(scene.image, turn), [(mark.defect, _turn(mark.mask, turn)) for mark in scene.marks])

    def _draw(self, rng: np.random.Generator) -> Scene:
        config, size = self._config, (self._size, self._size)
        wanted = int(rng.choice(len(self._shares), p=self._shares))
        side = config.draw_size or self._size
        scene = make_scene(rng, side, marks=wanted, clutter=config.clutter, wild=config.wild)
        if side == self._size:
            return scene
        marks = [replace(mark, mask=_shrink(mark.mask, size)) for mark in scene.marks]
        return replace(scene, image=resize_image(scene.image, size), marks=[mark for mark in marks if mark.mask.any()])

    def _sentences(
        self, marks: list[tuple[str, MaskArray]], size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[list[str], list[MaskArray]]:
        config, nothing = self._config, np.zeros(size, bool)
        noun = str(rng.choice(NOUNS)) if rng.random() < 0.9 else None
        clean = build_prompt(FREE_PROMPT, compose_description(noun, None, None))
        if not marks:
            if rng.random() < config.invented_share:
                clean = self._name(noun, _draw(KINDS, rng), _draw(REGIONS, rng), rng)
            return [clean, FIXED_PROMPT], [nothing, nothing]
        everything = np.logical_or.reduce([mask for _, mask in marks])
        chosen = [marks[k] for k in rng.permutation(len(marks))[: config.prompts]]
        sentences = [(self._name(noun, kind, region_name(mask), rng), mask) for kind, mask in chosen]
        chance, extra = rng.random(), None
        if chance < config.misplaced_share:
            free = [region for region in REGIONS if region not in {region_name(mask) for _, mask in marks}]
            extra = self._name(noun, chosen[0][0], _draw(free, rng), rng)
        elif chance < config.misplaced_share + config.denied_share:
            extra = clean
        elif len(sentences) < config.prompts or rng.random() < config.fixed_share:
            extra = FIXED_PROMPT
        if extra is not None:
            sentences = [*sentences[: max(0, config.prompts - 1)], (extra, everything)]
        return [text for text, _ in sentences], [mask for _, mask in sentences]

    def _name(self, noun: str | None, kind: str, region: str, rng: np.random.Generator) -> str:
        spoken = ANY_KIND if rng.random() < self._config.untyped_share else kind
        return build_prompt(FREE_PROMPT, compose_description(noun, spoken, region))


class SceneMarks:
    """The same scenes without sentences: the prompts of an item are the defect types of its marks."""

    def __init__(self, scenes: ReferringScenes) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        """Number of distinct scenes."""
        return len(self._scenes)

    def get(self, epoch: int, index: int) -> GroundingItem:
        """A scene with its marks."""
        scenery = self._scenes.show(epoch, index)
        rng = np.random.default_rng([self._scenes.seed, epoch, index, 2])
        image = augment_image(scenery.image, self._scenes.augment, rng)
        return GroundingItem(
            f"scene {index}", image, [kind for kind, _ in scenery.marks], [m for _, m in scenery.marks]
        )


def region_name(mask: NDArray[np.bool_]) -> str:
    """Region of a mark's centroid.

    Args:
        mask: (H, W) bool, not empty.
    """
    rows, columns = np.nonzero(mask)
    return region_of((float(columns.mean()), float(rows.mean())), mask.shape)


def _shrink(mask: MaskArray, size: tuple[int, int]) -> MaskArray:
    """A mask at another size: the pixels of which it covers more than half."""
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5)


def _draw(names: Sequence[str], rng: np.random.Generator) -> str:
    return str(names[int(rng.integers(len(names)))])


def _turn(array: np.ndarray, turn: int) -> np.ndarray:
    turned = np.rot90(array, turn % 4)
    return np.ascontiguousarray(turned[:, ::-1] if turn >= 4 else turned)
