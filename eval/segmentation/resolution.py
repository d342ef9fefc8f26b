"""The resolution at which maps and masks meet: the image's own, or one square for all; and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.errors import UserError
from data.image_size import read_size
from data.masks import ask_turned
from data.ranks import Ranks
from data.sample import ImageArray, MaskArray, Sample, load_mask, resize_image
from eval.conventions.measure import MeasureConfig
from eval.conventions.named import MaskRule

Size = tuple[int, int]  # height, width
RULE = "masks nearest, maps bilinear or area"  # part of the keys of what was counted or scored


@dataclass(frozen=True, slots=True)
class Resolution:
    """What size masks and maps are brought to.

    Attributes:
        side: Side of the square; None for the native size of each image.
        resize_maps: Whether maps of an unexpected size are resized, too.
        input_size: Side of the square that images are resized to; None for their own size.
        crop: Side of what is cut from the centre of that; None for all of it.
        mask_rule: What a mask's pixel is after resizing.
        smoothing: Standard deviation of the Gaussian over a map at its target, in pixels.
        looks: Whether somebody here is shown the images, so that all maps are of what was shown. A map from a file is
            of the whole image where it has the image's size, else of the crop.
    """

    side: int | None = None
    resize_maps: bool = False
    input_size: int | None = None
    crop: int | None = None
    mask_rule: MaskRule = MaskRule.nearest
    smoothing: float = 0.0
    looks: bool = False

    @classmethod
    def by(cls, config: MeasureConfig, resize_maps: bool, *, looks: bool) -> Resolution:
        """That of a convention."""
        how = (config.input_size, config.crop, config.mask_rule, config.smoothing, looks)
        return cls(config.side(), resize_maps, *how)

    @property
    def seen(self) -> list[Any]:
        """What a map depends on; empty where images are shown as they are."""
        return [self.input_size, self.crop] if self.looks and self.input_size else []

    @property
    def map_facts(self) -> list[Any]:
        """What a fitted map depends on, besides size and rule; empty where nothing is done to it."""
        crop = [self.input_size, self.crop] if self.crop else []
        return [*crop, "smoothing", self.smoothing] if self.smoothing else crop

    @property
    def mask_facts(self) -> list[Any]:
        """Likewise of a mask."""
        return [] if self.mask_rule is MaskRule.nearest else [self.mask_rule.value]

    def target(self, native: Size) -> Size:
        """The size at which an image of a native size is evaluated."""
        side = self.side or self.crop
        return (side, side) if side else native

    def expected(self, native: Size) -> list[Size]:
        """The sizes that a map may have."""
        shown = self.crop or self.input_size
        return [native, self.target(native), *([(shown, shown)] if shown else [])]

    def show(self, image: ImageArray) -> ImageArray:
        """What is looked at of an image, (H, W, 3)."""
        if self.input_size is None:
            return image
        image = resize_image(image, (self.input_size, self.input_size))
        return np.ascontiguousarray(self._cut(image))

    def _cut(self, square: NDArray[Any]) -> NDArray[Any]:
        """The crop of what has the input's size."""
        if self.crop is None or self.input_size is None:
            return square
        start = (self.input_size - self.crop) // 2
        return square[start : start + self.crop, start : start + self.crop]

    def fit_map(self, anomaly_map: NDArray[np.floating], native: Size, name: str) -> NDArray[np.floating]:
        """Brings a map to its target, bilinear where it grows, area averages where it shrinks, and smooths it there.

        Expected are maps of the target's size, of the native size, or of what was shown.

        Raises:
            UserError: If the map has another size and `resize_maps` is off.
        """
        target, size = self.target(native), (anomaly_map.shape[0], anomaly_map.shape[1])
        if size not in self.expected(native) and not self.resize_maps:
            turned = ask_turned("map", size, native)
            expected = " or ".join(dict.fromkeys(f"{width}x{height}" for height, width in self.expected(native)))
            raise UserError(
                f"The anomaly map is {size[1]}x{size[0]}, expected {expected} (width x height): {name}.{turned} "
                "Write maps of that size, evaluate at theirs (resolution=N), or have them resized (resize_maps=true)."
            )
        if self.crop and self.input_size and not self.looks and size == native:
            anomaly_map = self._cut(_resize(anomaly_map, (self.input_size, self.input_size)))
        return _smooth(_resize(anomaly_map, target), self.smoothing)

    def fit_mask(self, mask: MaskArray) -> MaskArray:
        """Brings a mask to its target, by way of the crop where there is one, by `mask_rule` at each step."""
        target = self.target((mask.shape[0], mask.shape[1]))
        if self.crop and self.input_size:
            mask = self._cut(_resize_mask(mask, (self.input_size, self.input_size), self.mask_rule))
        return _resize_mask(mask, target, self.mask_rule)


def _resize(anomaly_map: NDArray[np.floating], target: Size) -> NDArray[np.floating]:
    size = anomaly_map.shape
    if size == target:
        return anomaly_map
    interpolation = cv2.INTER_AREA if size[0] >= target[0] and size[1] >= target[1] else cv2.INTER_LINEAR
    values = anomaly_map.astype(np.float32) if anomaly_map.dtype == np.float16 else anomaly_map
    return np.asarray(cv2.resize(values, (target[1], target[0]), interpolation=interpolation), values.dtype)


def _smooth(anomaly_map: NDArray[np.floating], deviation: float) -> NDArray[np.floating]:
    """A Gaussian to four standard deviations, the border mirrored, as SciPy's filter has it."""
    if not deviation:
        return anomaly_map
    values = anomaly_map.astype(np.float32) if anomaly_map.dtype == np.float16 else anomaly_map
    width = 2 * int(4 * deviation + 0.5) + 1
    smooth = cv2.GaussianBlur(values, (width, width), deviation, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth, values.dtype)


def _resize_mask(mask: MaskArray, target: Size, rule: MaskRule) -> MaskArray:
    if mask.shape == target:
        return mask
    if rule is MaskRule.bilinear:
        grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
        return np.asarray(grey.resize(target[::-1], Image.Resampling.BILINEAR)) > 127  # 128 is the first above one half
    resized = cv2.resize(mask.astype(np.uint8), (target[1], target[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8).astype(bool)


def vanished_masks(samples: Sequence[Sample], resolution: Resolution, ranks: Ranks) -> list[str]:
    """Ids of anomalous samples whose defect is too small for the resolution: no pixel of it is left.

    They count as anomalous images, but add nothing to the pixel metrics. None at native resolution.

    Args:
        samples: What is evaluated; the ranks share the masks.
        resolution: Where masks are brought to.
        ranks: All get the same list.
    """
    if resolution.side is None and resolution.crop is None:
        return []
    mine = []
    for sample in ranks.share([sample for sample in samples if sample.mask is not None]):
        mask = load_mask(sample, read_size(sample.image))
        if mask.any() and not resolution.fit_mask(mask).any():
            mine.append(sample.id)
    return sorted(sample_id for part in ranks.gather(mine) for sample_id in part)
