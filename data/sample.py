"""A sample: one image with its annotation, as every reader yields it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.errors import UserError
from data.masks import MaskSource, read_mask
from data.pixels.decode import decode_image

ImageArray = NDArray[np.uint8]  # (H, W, 3), RGB, 0..255
MaskArray = NDArray[np.bool_]  # (H, W), True on the defect


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image with its annotation. Nothing is decoded until `load_image` or `load_mask`.

    Attributes:
        id: Unique and stable: `<dataset>/<path of the image below the dataset's root>`.
        dataset: Name of the dataset, usually the reader's key.
        category: Object type, e.g. `bottle`.
        split: Split as the dataset defines it, e.g. `train` or `test`.
        image: Path of the image.
        defect: Name of the defect type; None when the image is normal. Several types are joined by " and ", sorted.
        mask: Where the mask comes from; None when the image is normal (all zero).
        group: Names the physical object, for splits that keep its images together; None when the image stands alone.
    """

    id: str
    dataset: str
    category: str
    split: str
    image: Path
    defect: str | None = None
    mask: MaskSource | None = None
    group: str | None = None

    @property
    def is_normal(self) -> bool:
        """Whether the image shows no defect."""
        return self.defect is None


def load_image(path: Path) -> ImageArray:
    """Decodes an image at its native size, as it is displayed; grey images become RGB.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: If the file is missing, does not decode, is of an unsupported format, or is too large for the memory.
    """
    return decode_image(path)


def resize_image(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Resizes as MiniCPM-V's processor does, so that what is kept small looks as what it sees: antialiased bicubic.

    Args:
        image: (H, W, 3).
        size: (height, width) wanted.
    """
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def load_mask(sample: Sample, size: tuple[int, int]) -> MaskArray:
    """Decodes the mask of a sample; a normal sample's mask is all False.

    Args:
        sample: The sample.
        size: (height, width) of its image, which the mask must match.

    Returns:
        (H, W) bool, True on the defect.

    Raises:
        UserError: If the mask is missing, corrupt, of another size, or empty on an anomalous sample.
    """
    if sample.mask is None:
        if not sample.is_normal:
            raise UserError(f"Image without its mask: {sample.image} shows '{sample.defect}'. Add the mask file.")
        return np.zeros(size, bool)
    mask = read_mask(sample.mask, size)
    if not sample.is_normal and not mask.any():
        raise UserError(
            f"Empty mask: {sample.mask} of {sample.image}, which shows '{sample.defect}'. Fix the mask or the folder."
        )
    return mask
