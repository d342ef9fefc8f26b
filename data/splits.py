"""The zero-shot promise: nothing that an evaluation calls unseen was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from data.errors import UserError
from data.files import hash_file
from data.sample import Sample


def check_disjoint(train: Sequence[Sample], zero_shot: Sequence[Sample]) -> None:
    """Refuses a category or an image file that is in both the training and the zero-shot samples.

    Categories are compared within one dataset: BSData's and MVTec AD's `screw` would be different products.
    Images are compared by content: files of the same size are hashed.

    Raises:
        UserError: Naming the shared categories, or the first shared image.
    """
    shared = {(s.dataset, s.category) for s in train} & {(s.dataset, s.category) for s in zero_shot}
    if shared:
        names = ", ".join(f"{category} ({dataset})" for dataset, category in sorted(shared))
        raise UserError(f"In both the training and the zero-shot set: {names}. Remove it from one of them.")
    train_by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in train:
        train_by_size[sample.image.stat().st_size].append(sample)
    digest = cache(hash_file)
    for sample in zero_shot:
        for candidate in train_by_size.get(sample.image.stat().st_size, []):
            if digest(candidate.image) == digest(sample.image):
                raise UserError(
                    f"The same image is in the training and the zero-shot set: {candidate.image} and {sample.image}. "
                    "Remove one of them."
                )
