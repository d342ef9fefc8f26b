"""Reference images: one normal training image a category, which the MLLM compares with (VELM, Sec. 4.2: at random)."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from data.errors import UserError
from data.files import hash_file
from data.sample import Sample

TRAIN = "train"


def choose_references(
    categories: Sequence[str],
    candidates: Sequence[Sample],
    fitted: Collection[str],
    evaluated: Sequence[Sample],
    given: Mapping[str, str],
    seed: int,
) -> dict[str, Path]:
    """One reference image a category.

    Args:
        categories: Those that need one.
        candidates: Where references are drawn from: normal samples of the split `train`, and, for datasets without
            such a split, those that the expert was fitted on.
        fitted: Ids of the samples that the expert was fitted on.
        evaluated: What is classified: never a reference.
        given: Category → path, chosen by the user.
        seed: Of the draw.

    Raises:
        UserError: If a given image is missing or is among the evaluated ones, or a category has no normal training
            image.
    """
    if unknown := sorted(set(given) - set(categories)):
        raise UserError(f"references names {', '.join(unknown)}, not among the categories: {', '.join(categories)}.")
    tested: dict[int, list[Path]] = {}
    for sample in evaluated:
        tested.setdefault(sample.image.stat().st_size, []).append(sample.image)
    found = {}
    for category in categories:
        if category in given:
            found[category] = Path(given[category])
            if not found[category].is_file():
                raise UserError(f"Missing reference image of '{category}': {given[category]}. Fix references.")
            _check_untested(found[category], category, tested)
            continue
        normals = [s for s in candidates if s.category == category and s.is_normal]
        normals = [s for s in normals if s.split == TRAIN or s.id in fitted]
        if not normals:
            raise UserError(
                f"No normal training image of '{category}' to show as reference. Give one by "
                f"'references={{{category}: PATH}}', another dataset by reference_root=DIR, or set "
                "prompt.reference=false."
            )
        found[category] = random.Random(f"{seed} {category}").choice(normals).image
        _check_untested(found[category], category, tested)
    return found


def _check_untested(path: Path, category: str, tested: Mapping[int, Sequence[Path]]) -> None:
    """Images are compared by content."""
    for other in tested.get(path.stat().st_size, []):
        if other.samefile(path) or hash_file(other) == hash_file(path):
            raise UserError(
                f"The reference image of '{category}' is one of the evaluated images: {path} is {other}. Take one from "
                "the training split."
            )
