"""Figures that only some conventions have, of one category: legacy AUPRO, ADer's, sPRO, and decisions per object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from data.readers.mvtec_loco import saturation_areas
from data.sample import Sample
from eval.metrics.image import image_metrics
from eval.metrics.pixels import PixelMetrics
from eval.metrics.saturation import SaturatedImage, SaturatedRegion, saturated_pro
from eval.metrics.scores import ScoredImage
from eval.metrics.thresholds import legacy_aupro, mean_f1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFigures:
    """Which figures are added.

    Attributes:
        legacy: AUPRO as most publications compute it.
        ader: ADer's mIoU-max, the largest IoU over all thresholds, and its mean F1.
        spro_limit: Upper limit of the false-positive rate of MVTec LOCO's AU-sPRO; None leaves it out.
        per_object: Image metrics of objects: an object scores as its worst view.
    """

    legacy: bool = False
    ader: bool = False
    spro_limit: float | None = None
    per_object: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the figures."""
        names = ["pixel_aupro_legacy"] if self.legacy else []
        names += ["pixel_miou_max", "pixel_f1_mean"] if self.ader else []
        names += ["pixel_spro"] if self.spro_limit is not None else []
        return names + (["object_auroc", "object_ap", "object_f1_max"] if self.per_object else [])


def extra_pixels(
    samples: Sequence[Sample], images: Iterable[ScoredImage], found: PixelMetrics, extra: ExtraFigures
) -> dict[str, float | None]:
    """The added pixel figures of one category, as fractions; None without a value.

    Args:
        samples: The category's.
        images: Theirs, in any order; iterated several times.
        found: The other pixel metrics.
        extra: Which.

    Raises:
        UserError: If saturation areas do not fit the masks.
    """
    figures: dict[str, float | None] = {}
    if extra.legacy:
        figures["pixel_aupro_legacy"] = None if found.reason else legacy_aupro(images)
    if extra.ader:
        f1 = found.f1_max  # IoU = F1 / (2 − F1) rises with F1, so both are largest at one threshold
        figures["pixel_miou_max"] = None if f1 is None else f1 / (2 - f1)
        figures["pixel_f1_mean"] = None if found.reason else mean_f1(images)
    if extra.spro_limit is not None:
        figures["pixel_spro"] = saturated_pro(_Saturated(samples, images), extra.spro_limit)
    return figures


def object_figures(samples: Sequence[Sample], scores: Mapping[str, float]) -> dict[str, float | None]:
    """Image metrics of a category's objects, as fractions: views of one `group` are one object, and one decision.

    An object scores as its worst view, and is anomalous if one of its views is. Views that a reader leaves out, as
    Real-IAD's without a visible defect, have no part in it.

    Raises:
        UserError: If a sample names no object.
    """
    views: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.group is None:
            raise UserError(
                f"per_object=true needs views of objects, as Real-IAD has them; {sample.id} names no object. "
                "Leave it out."
            )
        views.setdefault(sample.group, []).append(sample)
    worst = [max(scores[view.id] for view in seen) for seen in views.values()]
    found = image_metrics(worst, [any(not view.is_normal for view in seen) for seen in views.values()])
    return {"object_auroc": found.auroc, "object_ap": found.ap, "object_f1_max": found.f1_max}


@dataclass(frozen=True, slots=True)
class _Saturated:
    """Scored images with their defects' saturation areas, decoded anew on each iteration."""

    samples: Sequence[Sample]
    images: Iterable[ScoredImage]

    def __iter__(self) -> Iterator[SaturatedImage]:
        by_image = {str(sample.image): sample for sample in self.samples}
        for image in self.images:
            areas = saturation_areas(by_image[image.name]) if image.mask.any() else []
            if any(mask.shape != image.mask.shape for mask, _ in areas):
                raise UserError(f"Saturation areas are in pixels of the whole image; {image.name} is measured in part.")
            yield SaturatedImage(image, tuple(SaturatedRegion(np.flatnonzero(mask), area) for mask, area in areas))
