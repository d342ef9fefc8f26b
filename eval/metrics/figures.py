"""A figure that may have no value: its name, its mean, in percent, and as people read it."""

from __future__ import annotations

from collections.abc import Sequence

TITLES = {
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pixel_f1_max": "Pixel F1-max",
    "pixel_aupro": "AUPRO",
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "image_f1_max": "Image F1-max",
    "pixel_iou": "Pixel IoU",
    "pixel_aupro_legacy": "AUPRO, legacy",
    "pixel_miou_max": "mIoU-max",
    "pixel_f1_mean": "Pixel F1, mean of .2–.8",
    "pixel_spro": "AU-sPRO",
    "object_auroc": "Object AUROC",
    "object_ap": "Object AP",
    "object_f1_max": "Object F1-max",
}


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the values that there are; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def percent(value: float | None) -> float | None:
    """A fraction in percent."""
    return None if value is None else 100 * value


def format_figure(value: float | None, digits: int = 1) -> str:
    """A number with fixed digits; a dash when there is none."""
    return "–" if value is None else f"{value:.{digits}f}"
