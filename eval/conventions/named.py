"""The conventions that published segmentation figures rest on, each as one set of values (`configs/convention/`).

`ours`: each image at its own size, exact figures. The others are what the named method's authors, or its benchmark,
do; what they leave open keeps our values, which a line below says. The size that a CLIP is shown is its own expert's
business (240 px for WinCLIP), so only benchmarks that fix the input for every method have an `input_size` here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


CONVENTIONS = {
    "ours": Convention(),
    # WinCLIP's own code is not public: mask and AUPRO as AnoVL, which works at the same size.
    "winclip": Convention(resolution="240", mask_rule=MaskRule.bilinear, aupro_rule=AuproRule.legacy),
    # APRIL-GAN (and AnomalyCLIP, with smoothing=4): ½ score of the text + ½ maximum of the map.
    "april_gan": Convention(
        resolution="518", mask_rule=MaskRule.bilinear, aupro_rule=AuproRule.legacy, image_score=ImageScore.half
    ),
    # SAA+, and a common re-implementation of WinCLIP.
    "saa": Convention(resolution="400", image_score=ImageScore.maximum),
    # The ADer benchmark; mask rule and smoothing are not stated.
    "ader": Convention(
        resolution="256",
        input_size=256,
        aupro_rule=AuproRule.legacy,
        image_score=ImageScore.maximum,
        ader_figures=True,
    ),
    # Dinomaly; the rule of its AUPRO is not stated.
    "dinomaly": Convention(
        resolution="256",
        input_size=448,
        crop=392,
        smoothing=4.0,
        image_score=ImageScore.top_mean,
        score_fraction=0.01,
    ),
}
