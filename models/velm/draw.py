"""The visual prompt: what an expert found, drawn on the query image for the MLLM (VELM, Sec. 3.1 and Fig. 3).

The paper overlays a red outline and does not say at which value it cuts the anomaly map, or how the line is drawn: the
policy is a config value, and our line lies outside the defect. The authors' code settles both, and `published` draws as
it does: lines of 2 pixels centred on the edges of the outer contours, in pure red, around what lies above 127 in a grey
picture of the map (above 0 in a true mask, which is the same: it holds 0 and 255 alone). Chosen here: in the grey
picture 0 is the map's least value and 255 its greatest, and the line is drawn at the size that the MLLM sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from data.errors import UserError
from data.files import write_bytes
from data.sample import ImageArray, MaskArray, resize_image
from models.contour import ContourConfig, draw_contour, draw_heat, find_mask
from models.experts.expert import Detection

PURE_RED, PUBLISHED_LINE, PUBLISHED_LEVEL = (255, 0, 0), 2, 127
HEAT_TOP = 2.0  # the brightest colour is at this many times the gate's threshold, if the map does not reach higher


class VisualPromptKind(StrEnum):
    """What the MLLM is shown beside the query: our red outline or theirs, a heat overlay, a part, or nothing."""

    contour = "contour"
    published = "published"
    heat = "heat"
    crop = "crop"
    none = "none"


class ThresholdPolicy(StrEnum):
    """Where an anomaly map is cut.

    `gate`: at the pixel threshold that was fitted with the expert. `share`: at `value` of the way from the map's least
    to its greatest value, so every map has an outline. `otsu`: between the two modes of the map's own histogram.
    `value`: at `value`, in the map's units.
    """

    gate = "gate"
    share = "share"
    otsu = "otsu"
    value = "value"


@dataclass(kw_only=True, slots=True)
class VisualPromptConfig:
    """How a detection is drawn.

    Attributes:
        kind: What is drawn; `published` settles the rest.
        policy: Where the map is cut.
        value: For the policies `share` (0..1) and `value`.
        min_area: Regions smaller than this share of the image are dropped as specks.
        line_width: Width of the outline as a share of the longer side.
        margin: What `crop` shows around the box of the mask, as a share of the box's longer side.
    """

    kind: VisualPromptKind = VisualPromptKind.contour
    policy: ThresholdPolicy = ThresholdPolicy.gate
    value: float = 0.5
    min_area: float = 0.0001
    line_width: float = 0.008
    margin: float = 0.5

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: If a share is out of range.
        """
        if self.policy is ThresholdPolicy.share and not 0 < self.value < 1:
            raise UserError(f"visual.value must be between 0 and 1 for policy=share, not {self.value}.")
        for name, value, high in (("min_area", self.min_area, 1), ("line_width", self.line_width, 0.5)):
            if not 0 <= value < high:
                raise UserError(f"visual.{name} must be at least 0 and below {high}, not {value}.")
        if self.margin < 0:
            raise UserError(f"visual.margin must not be negative, not {self.margin}.")


def cut_map(detection: Detection, config: VisualPromptConfig) -> MaskArray:
    """The anomalous pixels of a detection, (H, W) bool; may be empty, whatever the image's score."""
    anomaly_map = detection.anomaly_map
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
    if config.policy is ThresholdPolicy.gate:
        threshold = detection.gate.pixel
    elif config.policy is ThresholdPolicy.value:
        threshold = config.value
    elif low == high:  # a flat map has no region that stands out
        return np.zeros(anomaly_map.shape, bool)
    elif config.policy is ThresholdPolicy.share:
        threshold = low + config.value * (high - low)
    else:
        levels = ((anomaly_map - low) / (high - low) * 255).round().astype(np.uint8)
        level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        threshold = low + (level + 0.5) / 255 * (high - low)
    return find_mask(anomaly_map, ContourConfig(threshold=threshold, min_area=config.min_area))


def draw_visual_prompt(image: ImageArray, detection: Detection, config: VisualPromptConfig) -> ImageArray | None:
    """Draws what the expert found.

    Args:
        image: (H, W, 3) uint8 RGB; never changed.
        detection: The expert's map, (H, W).
        config: What is drawn and how.

    Returns:
        (H', W', 3) uint8 RGB; None for `none`, and for an outline or a crop when no pixel of the map is anomalous: an
        image can score above its gate while no pixel does, and then there is nothing to show.
    """
    if config.kind is VisualPromptKind.none:
        return None
    if config.kind is VisualPromptKind.heat:
        return draw_heat(image, _relative(detection))
    if config.kind is VisualPromptKind.published:
        return draw_published(image, detection)
    mask = cut_map(detection, config)
    if not mask.any():
        return None
    if config.kind is VisualPromptKind.contour:
        return draw_contour(image, mask, ContourConfig(line_width=config.line_width))
    return crop(image, mask, config.margin)


def draw_published(image: ImageArray, detection: Detection) -> ImageArray | None:
    """The outline as the authors' code draws it, on the image as it is given; None on a flat map."""
    anomaly_map = detection.anomaly_map
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
    if low == high:
        return None
    grey = ((anomaly_map - low) / (high - low) * 255).astype(np.uint8)
    above = (grey > PUBLISHED_LEVEL).astype(np.uint8)
    contours, _ = cv2.findContours(above, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, PURE_RED, PUBLISHED_LINE), np.uint8)


def fit_square(image: ImageArray, detection: Detection, side: int) -> tuple[ImageArray, Detection]:
    """Image and map at the size that the MLLM sees, so that a line's width is in its pixels."""
    anomaly_map = cv2.resize(detection.anomaly_map, (side, side), interpolation=cv2.INTER_LINEAR)
    return resize_image(image, (side, side)), replace(detection, anomaly_map=np.asarray(anomaly_map, np.float32))


def crop(image: ImageArray, mask: MaskArray, margin: float) -> ImageArray:
    """The square part of an image around a mask, cut off at the borders.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, not empty.
        margin: As in `VisualPromptConfig`.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    side = max(width, height) * (1 + 2 * margin)
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    x0, y0 = max(0, int(left)), max(0, int(top))
    return image[y0 : max(y0 + 1, int(np.ceil(top + side))), x0 : max(x0 + 1, int(np.ceil(left + side)))].copy()


def write_picture(path: Path, image: ImageArray, side: int | None, *, bicubic: bool = False) -> Path:
    """Writes an image, resized to a square unless `side` is None: bicubic, or by areas where it shrinks."""
    if bicubic and side is not None:
        image = resize_image(image, (side, side))
    elif side is not None and image.shape[:2] != (side, side):
        shrinks = max(image.shape[:2]) > side
        image = cv2.resize(  # type: ignore[assignment]
            image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    write_bytes(path, cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes(), durable=False)
    return path


def _relative(detection: Detection) -> np.ndarray:
    """The map in 0..1: 0 at its least value, 1 at its greatest or well above the gate, whichever is higher."""
    low = float(detection.anomaly_map.min())
    top = max(float(detection.anomaly_map.max()), low + HEAT_TOP * (detection.gate.pixel - low), low + 1e-12)
    return (detection.anomaly_map - low) / (top - low)
