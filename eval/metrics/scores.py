"""What both engines of the pixel metrics take: images to score, checked, and the regions of their masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError

MapArray = NDArray[np.floating]  # (H, W), higher is worse


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image to score.

    Attributes:
        name: Named in error messages.
        anomaly_map: (H, W) floating point, higher is worse; ±inf is allowed, NaN is not.
        mask: (H, W) bool, True on the defect.
    """

    name: str
    anomaly_map: MapArray
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Regions:
    """The defect regions of one mask: its 8-connected components.

    Attributes:
        index: Places of the defect pixels in the flattened mask, (D,) int64, in increasing order.
        area: Area in pixels of the region of each defect pixel, (D,) int64.
        count: Number of regions.
    """

    index: NDArray[np.int64]
    area: NDArray[np.int64]
    count: int


def check_image(image: ScoredImage) -> None:
    """Checks types and shapes.

    Raises:
        UserError: If the map is not floating point, is empty, or differs in shape from the mask.
    """
    anomaly_map, mask = image.anomaly_map, image.mask
    if anomaly_map.shape != mask.shape or anomaly_map.ndim != 2:
        raise UserError(
            f"Anomaly map {anomaly_map.shape} and mask {mask.shape} differ in shape: {image.name}. Both must be (H, W)."
        )
    if not np.issubdtype(anomaly_map.dtype, np.floating) or mask.dtype != np.bool_:
        raise UserError(
            f"The anomaly map must be floating point and the mask bool, not {anomaly_map.dtype} and {mask.dtype}: "
            f"{image.name}."
        )
    if not anomaly_map.size:
        raise UserError(f"Empty anomaly map: {image.name}.")


def map_range(anomaly_map: MapArray, name: str) -> tuple[float, float]:
    """Least and greatest score of a map.

    Raises:
        UserError: If a score is NaN.
    """
    least, greatest = float(anomaly_map.min()), float(anomaly_map.max())
    if np.isnan(least):  # a minimum propagates NaN
        raise nan_error(anomaly_map, name)
    return least, greatest


def nan_error(anomaly_map: MapArray, name: str) -> UserError:
    """What to say about a map with NaN."""
    count = int(np.isnan(anomaly_map).sum())
    return UserError(f"The anomaly map has {count} NaN values: {name}. The model or its input is broken.")


def find_regions(mask: NDArray[np.bool_]) -> Regions | None:
    """The regions of a mask, labelled inside its bounding box only; None where it is empty."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    if not width:
        return None
    window = np.ascontiguousarray(mask[top : top + height, left : left + width])
    count, labels = cv2.connectedComponents(window.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    index = np.flatnonzero(window)
    region = labels.reshape(-1)[index]
    index += (index // width) * (mask.shape[1] - width) + top * mask.shape[1] + left
    return Regions(index, np.bincount(region, minlength=count)[region], count - 1)


def undefined_reason(defect_pixels: int, pixels: int, constant: bool) -> str | None:
    """Why a ranking of pixels has no value, if so."""
    if not pixels:
        return "no image"
    if not defect_pixels:
        return "no defect pixel"
    if defect_pixels == pixels:
        return "every pixel is defect"
    return "all scores are equal" if constant else None
