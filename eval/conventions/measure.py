"""The settings by which maps and masks are measured, one named convention or values of one's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from data.errors import UserError
from eval.conventions.named import CONVENTIONS, AuproRule, Convention, ImageScore, MaskRule
from models.device import DeviceConfig


@dataclass(kw_only=True, slots=True)
class MeasureConfig(DeviceConfig):
    """By which convention is measured; where models run as `DeviceConfig` says.

    Attributes:
        convention: Whose: `ours`, `winclip`, `april_gan`, `saa`, `ader` or `dinomaly`; it sets the values below, any of
            which may be given beside it.
        resolution: `native` (of each image), or N: masks and maps are brought to N×N.
        input_size: Side of the square that an image is resized to before it is looked at; null leaves it as it is.
        crop: Side of the square that is cut from the centre of that; only it is looked at and measured.
        mask_rule: What a mask's pixel is after resizing: `nearest`, or `bilinear` above 0.5.
        smoothing: Standard deviation of a Gaussian over each map at its resolution, in pixels; 0 leaves it out.
        aupro_rule: `exact`, or `legacy`, which adds AUPRO as most publications compute it.
        image_score: How an image's score comes from its map.
        score_fraction: Share of the pixels that `top_mean` averages.
        ader_figures: Also ADer's mIoU-max and mean F1.
    """

    convention: str = "ours"
    resolution: str = "native"
    input_size: int | None = None
    crop: int | None = None
    mask_rule: MaskRule = MaskRule.nearest
    smoothing: float = 0.0
    aupro_rule: AuproRule = AuproRule.exact
    image_score: ImageScore = ImageScore.auto
    score_fraction: float = 0.005
    ader_figures: bool = False

    def check_measure(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range, or values do not go together.
        """
        if self.convention not in CONVENTIONS:
            raise UserError(f"No convention '{self.convention}'. Choose convention= from {', '.join(CONVENTIONS)}.")
        if not 0 < self.score_fraction <= 1:
            raise UserError(f"score_fraction={self.score_fraction} is out of range: choose a value in (0, 1].")
        if not 0 <= self.smoothing <= 1000:
            raise UserError(f"smoothing={self.smoothing} is out of range: a standard deviation in pixels, usually 4.")
        if self.input_size is not None and not 1 <= self.input_size <= 16384:
            raise UserError(f"input_size={self.input_size} is no side in pixels, such as 448.")
        if self.crop is not None and not 1 <= self.crop <= (self.input_size or 0):
            raise UserError(f"crop={self.crop} is cut from images of input_size={self.input_size}: give a larger one.")
        self.side()

    def side(self) -> int | None:
        """Side of the square that everything is brought to; None at native resolution.

        Raises:
            UserError: If `resolution` is neither `native` nor a positive number.
        """
        if self.resolution == "native":
            return None
        if not self.resolution.isdecimal() or not 1 <= int(self.resolution) <= 16384:
            raise UserError(f"resolution='{self.resolution}' is neither native nor a side in pixels, such as 256.")
        return int(self.resolution)

    def shown_resolution(self) -> str:
        """The resolution as it is printed beside every result."""
        side = self.side()
        return f"{side}x{side}" if side else "native"

    def measure(self) -> dict[str, Any]:
        """The values of the convention, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Convention)}

    def shown_convention(self) -> str:
        """The convention as it is printed beside every result, with what differs from it."""
        whole = CONVENTIONS[self.convention]
        changed = [f"{name}={value}" for name, value in self.measure().items() if value != getattr(whole, name)]
        return f"{self.convention} with {', '.join(changed)}" if changed else self.convention
