"""The same picture twice: in one dataset, and in two that must not share any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from data.doctor.checks import Seen
from data.doctor.contents import Role
from data.doctor.listing import Listed, relative_path
from data.doctor.problems import Problem, problem
from data.sample import Sample

Copies = dict[str, list[Sample]]  # samples by the hash of their pixels


def group_by_pixels(listed: Listed, seen: Seen, root: Path) -> Copies:
    """Groups samples whose pixels are equal; images that do not decode are left out."""
    groups: Copies = defaultdict(list)
    for sample in listed.samples:
        if digest := seen.get((Role.IMAGE, relative_path(sample.image, root)), {}).get("hash"):
            groups[digest].append(sample)
    return dict(groups)


def find_duplicates(copies: Copies, root: Path) -> Iterator[Problem]:
    """Copies within one dataset; each later copy is named with the first."""
    for group in copies.values():
        first, *others = group
        for other in others:
            name, origin = relative_path(other.image, root), relative_path(first.image, root)
            if other.image == first.image:
                continue
            if (first.category, first.defect) != (other.category, other.defect):
                ours, theirs = (f"{s.category}, {s.defect or 'normal'}" for s in (other, first))
                yield problem("contradiction", name, f"Is {ours} here, and {theirs} as {origin}.")
            elif first.split != other.split:
                yield problem("duplicate-across-splits", name, f"In {other.split}; in {first.split} as {origin}.")
            else:
                yield problem("duplicate-image", name, f"The same pixels as {origin}.")


def find_leaks(copies: Copies, root: Path, others: Copies, other_root: Path) -> Iterator[Problem]:
    """Images of one dataset that are also in another."""
    for digest in copies.keys() & others.keys():
        there = others[digest][0]
        for sample in copies[digest]:
            place = other_root / relative_path(there.image, other_root)
            name = relative_path(sample.image, root)
            yield problem("leaked-image", name, f"In {sample.split} here; in {there.split} of the other set: {place}.")
