"""What the listing as a whole decides about each image: the letters of its answers, and who is held out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data.ddqa.ask import Assignment
from data.errors import UserError
from data.sample import Sample

OPTIONS = (2, 4, 4)  # of AD, RDL and DC


def assign(samples: Sequence[Sample], *, holdout: float, seed: int) -> list[Assignment]:
    """Gives every image its letters and its side, from the listing alone.

    Letters are balanced within each source, side and task: they come in shuffled blocks that hold every position
    once, so no two letters differ by more than one as long as every listed image can be asked. AD counts all
    images, RDL and DC count the anomalous ones.

    Raises:
        UserError: If the held-out or the training side of a source would be empty.
    """
    held_out = hold_out(samples, holdout, seed)
    streams: dict[tuple[str, bool, int], Iterator[int]] = {}

    def draw(dataset: str, held: bool, task: int) -> int:
        key = (dataset, held, task)
        if key not in streams:
            streams[key] = _positions(OPTIONS[task], _seed(f"{seed}/{dataset}/{held}/{task}"))
        return next(streams[key])

    assignments = []
    for sample in samples:
        held = (sample.dataset, _object(sample)) in held_out
        ad = draw(sample.dataset, held, 0)
        rdl, dc = (0, 0) if sample.is_normal else (draw(sample.dataset, held, 1), draw(sample.dataset, held, 2))
        assignments.append(Assignment(sample, (ad, rdl, dc), held))
    return assignments


def hold_out(samples: Sequence[Sample], share: float, seed: int) -> set[tuple[str, str]]:
    """Draws the physical objects whose images are held out: (dataset, group).

    In each dataset the objects are taken in the order of a seeded hash, until their images reach the share; an image
    without a group is an object of its own.

    Raises:
        UserError: If a dataset has too few objects for both sides.
    """
    if not share:
        return set()
    images: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for sample in samples:
        images[sample.dataset][_object(sample)] += 1
    chosen: set[tuple[str, str]] = set()
    for dataset, objects in images.items():
        wanted, taken = share * sum(objects.values()), 0
        order = sorted(objects, key=lambda name: hashlib.sha256(f"{seed}/{dataset}/{name}".encode()).digest())
        for name in order:
            if taken < wanted:
                chosen.add((dataset, name))
                taken += objects[name]
        if taken == sum(objects.values()):
            raise UserError(
                f"holdout={share} would hold out all of '{dataset}', which shows only {len(objects)} objects. Lower it."
            )
    return chosen


def _object(sample: Sample) -> str:
    return sample.group if sample.group is not None else sample.id


def _positions(options: int, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(options).tolist()


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
