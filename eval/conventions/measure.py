"""The settings by which maps and masks are measured, one named convention or values of one's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from data.errors import UserError
from eval.conventions.named import OURS, Convention, named_conventions
from models.device import DeviceConfig


@dataclass(kw_only=True, slots=True)
class MeasureConfig(DeviceConfig, Convention):
    """By which convention is measured; fields that are not listed are those of `Convention` and `DeviceConfig`.

    Attributes:
        convention: Whose: `ours`, `winclip`, `april_gan`, `saa`, `ader` or `dinomaly`; it sets those values, any of
            which may be given beside it.
    """

    convention: str = OURS

    def check_measure(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a value is out of range, or values do not go together.
        """
        if self.convention not in (known := named_conventions()):
            raise UserError(f"No convention '{self.convention}'. Choose convention= from {', '.join(known)}.")
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
        whole = named_conventions()[self.convention]
        changed = [f"{name}={value}" for name, value in self.measure().items() if value != getattr(whole, name)]
        return f"{self.convention} with {', '.join(changed)}" if changed else self.convention
