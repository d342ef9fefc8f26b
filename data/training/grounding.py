"""Training items of the MDLM: an image, what is said about it, and the mask that the words mean.

One item may carry several (prompt, mask) pairs, which share the cost of encoding the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import cv2
import numpy as np

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT, oracle_description
from data.errors import UserError
from data.sample import ImageArray, MaskArray, Sample, load_image, load_mask


class DescriptionMode(StrEnum):
    """What the MDLM is told about an image: EDDM's description, the ablation's fixed prompt, or the annotation."""

    eddm = "eddm"
    fixed = "fixed"
    oracle = "oracle"


@dataclass(frozen=True, slots=True)
class GroundingItem:
    """One image with its prompts.

    Attributes:
        id: Names the item in error messages.
        image: (H, W, 3) uint8 RGB.
        prompts: What is said, one text per mask.
        masks: (H, W) bool, one per prompt; all False when the words mean no pixel.
    """

    id: str
    image: ImageArray
    prompts: list[str]
    masks: list[MaskArray]


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """Photometric augmentation; no flips or crops, because the text names places.

    Attributes:
        brightness: Largest shift, as a share of 255.
        contrast: Largest relative change of contrast.
        tint: Largest relative change of one colour channel.
        noise: Largest standard deviation of Gaussian pixel noise, as a share of 255.
        blur: Probability of a light 3×3 blur.
    """

    brightness: float = 0.1
    contrast: float = 0.2
    tint: float = 0.08
    noise: float = 0.02
    blur: float = 0.1


@dataclass(frozen=True, slots=True)
class SampleGrounding:
    """Samples of a dataset with one prompt each, decoded when asked for and augmented by (seed, epoch, index).

    Attributes:
        samples: The samples.
        prompts: One prompt per sample.
        seed: Seed of the augmentation.
        augment: Augmentation; None leaves the images as they are.
        keep_decoded: Keeps decoded images in memory: for small datasets.
        side: Images are brought to this longer side, in pixels, before they are augmented, so that noise and blur are
            as strong whatever camera took them; None keeps their size.
    """

    samples: Sequence[Sample]
    prompts: Sequence[str]
    seed: int
    augment: AugmentConfig | None = None
    keep_decoded: bool = False
    side: int | None = None
    _decoded: dict[int, tuple[ImageArray, MaskArray]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def id_of(self, epoch: int, index: int) -> str:
        """Id of the sample that `get` decodes."""
        return self.samples[index].id

    def get(self, epoch: int, index: int) -> GroundingItem:
        """Decodes and augments one sample."""
        sample = self.samples[index]
        image, mask = self._decoded.get(index) or self._decode(index)
        if self.augment is not None:
            image = augment_image(image, self.augment, np.random.default_rng([self.seed, epoch, index]))
        return GroundingItem(sample.id, image, [self.prompts[index]], [mask])

    def _decode(self, index: int) -> tuple[ImageArray, MaskArray]:
        image = load_image(self.samples[index].image)
        decoded = image, load_mask(self.samples[index], image.shape[:2])
        if self.side is not None:
            decoded = fit_side(*decoded, self.side)
        if self.keep_decoded:
            self._decoded[index] = decoded
        return decoded


def fit_side(image: ImageArray, mask: MaskArray, side: int) -> tuple[ImageArray, MaskArray]:
    """Resizes an image and its mask so that the longer side has `side` pixels.

    Where the mask shrinks, a pixel is set where a quarter of what it stands for was, or where the most was: no defect
    vanishes.
    """
    height, width = mask.shape
    factor = side / max(height, width)
    if factor == 1:
        return image, mask
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if factor > 1:
        large = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), large > 0  # type: ignore[return-value]
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small, (share > 0) & (share >= min(0.25, float(share.max())))  # type: ignore[return-value]


def augment_image(image: ImageArray, config: AugmentConfig, rng: np.random.Generator) -> ImageArray:
    """Changes light and colour, never geometry.

    Args:
        image: (H, W, 3) uint8.
        config: Strengths.
        rng: Source of randomness; the same generator state gives the same image.
    """
    if rng.random() < config.blur:
        image = cv2.blur(image, (3, 3))  # type: ignore[assignment]
    gain = (1 + config.contrast * rng.uniform(-1, 1)) * (1 + config.tint * rng.uniform(-1, 1, 3)).astype(np.float32)
    shift = 255 * config.brightness * rng.uniform(-1, 1)
    pixels = (image.astype(np.float32) - 127.5) * gain + np.float32(127.5 + shift)
    noise = 255 * config.noise * rng.random()
    pixels += np.float32(noise) * rng.standard_normal(image.shape, np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def build_prompt(instruction: str, description: str | None = None) -> str:
    """Joins x_ins and ŷ_des as both enter the MDLM (EIAD, Fig. 2)."""
    return f"{instruction} {description}" if description else instruction


def grounding_prompts(
    samples: Sequence[Sample], mode: DescriptionMode, descriptions: Mapping[str, str] | None = None
) -> list[str]:
    """The prompt of each sample, for training and for evaluation alike.

    Args:
        samples: The samples.
        mode: `eddm` needs `descriptions`; `oracle` decodes image and mask of each sample.
        descriptions: EDDM's description by sample id.

    Raises:
        UserError: If a sample has no description.
    """
    if mode is DescriptionMode.fixed:
        return [build_prompt(FIXED_PROMPT)] * len(samples)
    if mode is DescriptionMode.oracle:
        sizes = (load_image(sample.image).shape[:2] for sample in samples)
        return [build_prompt(FREE_PROMPT, oracle_description(s, size)) for s, size in zip(samples, sizes, strict=True)]
    known = descriptions or {}
    missing = [sample.id for sample in samples if not known.get(sample.id, "").strip()]
    if missing:
        raise UserError(
            f"No description for {len(missing)} of {len(samples)} samples, first {missing[0]}. "
            "Run scripts.describe on this dataset first, or choose description=fixed."
        )
    return [build_prompt(FREE_PROMPT, known[sample.id]) for sample in samples]
