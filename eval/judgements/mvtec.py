"""Judged photos as a dataset in MVTec AD's layout, which most programs read.

OUT/<product>/test/good/…        sound photos (or train/good)
OUT/<product>/test/<class>/…     defective ones
OUT/<product>/ground_truth/<class>/<photo>_mask.png
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from data.readers.mvtec_layout import ALIKE, NORMAL
from data.readers.photos import NOT_PRODUCTS
from eval.judgements.placing import copy_file, place_photo, safe_name, stem_of
from eval.judgements.truth import UNNAMED, Told, Truth

WITHOUT_CLASS = "wrong class, and nobody named the right one"
WITHOUT_MASK = "a defect without a mask"


class SoundSplit(StrEnum):
    """Where sound photos go: to be tested on, or to be fitted on."""

    test = "test"
    train = "train"


@dataclass(slots=True)
class Written:
    """What became of the photos.

    Attributes:
        counts: `good` or the class → photos.
        skipped: Photos that were left out: (name, why).
    """

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def write_mvtec(root: Path, truth: Truth, product: str, sound: SoundSplit = SoundSplit.test) -> Written:
    """Writes photos and masks.

    Args:
        root: Folder of the dataset.
        truth: What the log tells.
        product: Name of the product where the log has none.
        sound: Split of the sound photos.

    Raises:
        UserError: If a file cannot be written.
    """
    written = Written()
    for told in truth.told:
        folder = root / product_folder(told.judgement.category or product)
        if told.is_sound:
            place_photo(told, folder / sound / NORMAL)
            written.counts[NORMAL] += 1
        elif reason := unusable(told):
            written.skipped.append((told.judgement.photo, reason))
        else:
            assert told.mask is not None
            name = folder_of(told.defect or UNNAMED)
            place_photo(told, folder / "test" / name)
            copy_file(told.mask, folder / "ground_truth" / name / f"{stem_of(told)}_mask.png")
            written.counts[told.defect or UNNAMED] += 1
    return written


def unusable(told: Told) -> str:
    """Why a defective photo cannot stand in a dataset with classes and masks; empty where it can."""
    if told.lacks_class:
        return WITHOUT_CLASS
    return "" if told.mask is not None else WITHOUT_MASK


def product_folder(product: str) -> str:
    """The folder of a product; one that is called like a part of a layout is told from it."""
    name = safe_name(product, "product")
    return f"{name}_product" if name.lower() in NOT_PRODUCTS else name


def folder_of(defect: str) -> str:
    """The folder of a class; one that is called like sound photos is told from them."""
    name = safe_name(defect, UNNAMED)
    return f"{UNNAMED}_{name}" if name.lower().replace("-", "_") in ALIKE else name
