"""The conventions that published segmentation figures rest on: files of `configs/convention/` hold their values.

`ours`: each image at its own size, exact figures. The others are what the named method's authors, or its benchmark,
do; what they leave open keeps our values, which the file says. Only benchmarks that fix the input for every method have
an `input_size`. An expert on CLIP sees at that size, or at the one that the convention's own method takes (240 px with
`winclip`, 518 with `april_gan`: `eval.segmentation.expert`), unless `clip.image_size` says another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "convention"
OURS = "ours"


class ImageScore(StrEnum):
    """How one anomaly score an image comes from its map.

    `maximum`: the greatest value of the map at the resolution of the evaluation. `top_mean`: the mean of its
    `score_fraction` greatest values. `model`: what the model or expert itself says (MDLM: the mean of the top
    `score_fraction` of its own config). `half`: the mean of `model` and `maximum`. `auto`: `model` where there is one,
    `maximum` for maps from files.
    """

    auto = "auto"
    maximum = "maximum"
    top_mean = "top_mean"
    model = "model"
    half = "half"


class MaskRule(StrEnum):
    """What a mask's pixel is after resizing: the nearest one, or defect where the bilinear share is above 0.5."""

    nearest = "nearest"
    bilinear = "bilinear"


class AuproRule(StrEnum):
    """`exact`: AUPRO by its definition. `legacy`: beside it AUPRO as most publications compute it."""

    exact = "exact"
    legacy = "legacy"


@dataclass(kw_only=True)  # without slots and not frozen, so that settings can hold its fields beside others
class Convention:
    """One way to measure.

    Attributes:
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

    resolution: str = "native"
    input_size: int | None = None
    crop: int | None = None
    mask_rule: MaskRule = MaskRule.nearest
    smoothing: float = 0.0
    aupro_rule: AuproRule = AuproRule.exact
    image_score: ImageScore = ImageScore.auto
    score_fraction: float = 0.005
    ader_figures: bool = False


@cache
def named_conventions() -> dict[str, Convention]:
    """Every convention by its name, ours first; what its file leaves out is ours.

    Raises:
        UserError: If a file has an unknown name or value.
    """
    files = sorted(FOLDER.glob("*.yaml"), key=lambda path: (path.stem != OURS, path.stem))
    return {path.stem: _read(path) for path in files}


def _read(path: Path) -> Convention:
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    values.pop("convention")
    rules = {"mask_rule": MaskRule, "aupro_rule": AuproRule, "image_score": ImageScore}
    try:
        values |= {name: rule(values[name]) for name, rule in rules.items() if name in values}
        return Convention(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is no convention: {error}. See {Convention.__module__} for the values.") from error
