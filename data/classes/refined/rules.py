"""The published rules of MVTec-AC and VisA-AC, from the data files beside this module."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

FOLDER = Path(__file__).parent
NORMAL = "good"
Counts = dict[str, dict[str, int]]  # category → class → test images


def mvtec_ac_class(category: str, defect: str) -> str | None:
    """The class of a test image of MVTec AD in MVTec-AC, by the rules alone; None when they leave it out.

    Args:
        category: Folder of the category.
        defect: Folder of the defect, or `good`.
    """
    rules = _load("mvtec_ac.yaml")
    if category in rules["drop_categories"] or defect in rules["drop_classes"]:
        return None
    return rules["merge"].get(category, {}).get(defect, defect)


@cache
def visa_ac_classes() -> dict[tuple[str, bool, str], str]:
    """VisA-AC's class map: (category, whether the image is normal, its stem) → class."""
    return {
        (category, name == NORMAL, stem): name
        for category, classes in _load("visa_ac.yaml").items()
        for name, stems in classes.items()
        for stem in stems.split()
    }


@cache
def release_counts(dataset: str) -> Counts:
    """How many test images each class has in the release of `mvtec_ac` or `visa_ac`."""
    if dataset == "mvtec_ac":
        return _load("mvtec_ac.yaml")["release"]
    return {
        category: {name: len(stems.split()) for name, stems in classes.items()}
        for category, classes in _load("visa_ac.yaml").items()
    }


def split_key(key: str) -> tuple[str, str, str]:
    """Splits a key of VELM's VisA-AC predictions, `<category>_<class>_<stem>`.

    Categories and classes hold underscores themselves: the category is the known one that the key starts with, the
    stem what follows the last underscore.

    Raises:
        UserError: If no category fits.
    """
    for category in _load("visa_ac.yaml"):
        rest = key.removeprefix(f"{category}_")
        if rest != key and "_" in rest:
            name, stem = rest.rsplit("_", 1)
            return category, name, stem
    raise UserError(f"Not a key of VisA-AC: '{key}'. Expected <category>_<class>_<stem>.")


def count_differences(built: Counter[tuple[str, str]], release: Counts) -> list[tuple[str, str, int, int]]:
    """Counts side by side: (category, class, built, release), for every class that either has."""
    keys = sorted({*built, *((category, name) for category, names in release.items() for name in names)})
    return [(category, name, built[category, name], release.get(category, {}).get(name, 0)) for category, name in keys]


@cache
def _load(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
