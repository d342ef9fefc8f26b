"""A part of the samples, by name: those with decoys, or those that a file lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.sample import Sample
from data.source import Source
from eval.segmentation.decoys import decoy_boxes


def choose_subset(subset: str, samples: Sequence[Sample], sources: Sequence[Source]) -> list[Sample]:
    """The samples that a subset names: empty, `decoys`, or a file with one sample id a line.

    Raises:
        UserError: If the file is missing or names an unknown sample, or nothing is left.
    """
    if not subset:
        return list(samples)
    if subset == "decoys":
        wanted = set(decoy_boxes(sources, samples))
        if not wanted:
            raise UserError(
                f"None of the {len(samples)} images has decoys: only datasets from scripts.make_synthetic have some."
            )
    else:
        path = Path(subset)
        if not path.is_file():
            raise UserError(f"No subset '{subset}'. Choose decoys, or a file with one sample id a line.")
        wanted = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
        if unknown := wanted - {sample.id for sample in samples}:
            raise UserError(f"{path} names {len(unknown)} unknown samples, first {min(unknown)}. Correct the file.")
        if not wanted:
            raise UserError(f"Empty subset file: {path}. Write one sample id a line.")
    return [sample for sample in samples if sample.id in wanted]
