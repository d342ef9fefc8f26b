"""The resolution at which maps and masks meet: the image's own, or one square for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.image_size import read_size
from data.ranks import Ranks
from data.sample import MaskArray, Sample, load_mask

Size = tuple[int, int]  # height, width
RULE = "masks nearest, maps bilinear or area"  # part of the keys of what was counted or scored


@dataclass(frozen=True, slots=True)
class Resolution:
    """What size masks and maps are brought to.

    Attributes:
        side: Side of the square; None for the native size of each image.
        resize_maps: Whether maps of an unexpected size are resized, too.
    """

    side: int | None = None
    resize_maps: bool = False

    def target(self, native: Size) -> Size:
        """The size at which an image of a native size is evaluated."""
        return (self.side, self.side) if self.side else native

    def fit_map(self, anomaly_map: NDArray[np.floating], native: Size, name: str) -> NDArray[np.floating]:
        """Brings a map to its target: bilinear where it grows, area averages where it shrinks.

        Expected are maps of the target's size or of the native size.

        Raises:
            UserError: If the map has another size and `resize_maps` is off.
        """
        target, size = self.target(native), (anomaly_map.shape[0], anomaly_map.shape[1])
        if size == target:
            return anomaly_map
        if size != native and not self.resize_maps:
            expected = f"{native[1]}x{native[0]}" + (f" or {self.side}x{self.side}" if self.side else "")
            raise UserError(
                f"The anomaly map is {size[1]}x{size[0]}, expected {expected} (width x height): {name}. Write maps of "
                "that size, evaluate at theirs (resolution=N), or have them resized (resize_maps=true)."
            )
        shrinks = size[0] >= target[0] and size[1] >= target[1]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        values = anomaly_map.astype(np.float32) if anomaly_map.dtype == np.float16 else anomaly_map
        return np.asarray(cv2.resize(values, (target[1], target[0]), interpolation=interpolation), values.dtype)

    def fit_mask(self, mask: MaskArray) -> MaskArray:
        """Brings a mask to its target: each pixel takes the nearest one."""
        target = self.target((mask.shape[0], mask.shape[1]))
        if mask.shape == target:
            return mask
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
    if resolution.side is None:
        return []
    mine = []
    for sample in ranks.share([sample for sample in samples if sample.mask is not None]):
        mask = load_mask(sample, read_size(sample.image))
        if mask.any() and not resolution.fit_mask(mask).any():
            mine.append(sample.id)
    return sorted(sample_id for part in ranks.gather(mine) for sample_id in part)
