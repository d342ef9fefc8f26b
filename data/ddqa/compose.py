"""Descriptions composed by rule: the same sentences for EDDM's structured answers and for the oracle."""

from __future__ import annotations

import re

from data.ddqa.regions import region_of
from data.masks import defect_regions
from data.sample import Sample, load_mask

FREE_PROMPT = "Please briefly describe the industrial product in the image and identify potential defects."
FIXED_PROMPT = "Please recognize the defect in the image and output the segmentation mask."


def compose_description(category: str | None, defect: str | None, region: str | None) -> str:
    """Two sentences: the product, then its defect and where it is.

    Args:
        category: Object type; None when unknown.
        defect: Name of the defect type; None when nothing is wrong.
        region: One of the nine region names; None leaves the place out.
    """
    product = with_article(category) if category else "an industrial product"
    shows = f"The image shows {product.replace('_', ' ')}."
    if defect is None:
        return f"{shows} There is no visible defect."
    place = f" at the {region}" if region else ""
    return f"{shows} There is {with_article(defect)}{place}."


def read_presence(text: str) -> bool | None:
    """Whether a text in the manner of `compose_description` says that there is a defect; None if it says neither.

    >>> read_presence("The image shows a gear. There is a crack at the left.")
    True
    """
    plain = " ".join(text.casefold().split())
    if "no visible defect" in plain:
        return False
    return True if re.search(r"\bthere is an? \w", plain) else None


def oracle_description(sample: Sample, size: tuple[int, int]) -> str:
    """Describes a sample from its annotation; for ablations only, since it leaks the location.

    The product is not named, because EDDM's structured descriptions, which this stands in for, do not name it.

    Args:
        sample: The sample; its mask is decoded.
        size: (height, width) of its image.
    """
    if sample.is_normal or sample.mask is None:
        return compose_description(None, None, None)
    largest = defect_regions(sample.mask, load_mask(sample, size))[0]
    return compose_description(None, sample.defect, region_of(largest.centroid, size))


def with_article(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') else 'a'} {noun}"
