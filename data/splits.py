"""The zero-shot promise: nothing that an evaluation calls unseen was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from data.content import hash_files
from data.errors import UserError
from data.sample import Sample

# Datasets that show the same products or hold the same pictures, under other names or with other annotations. A
# dataset that is not named is related to itself alone.
RELATIVES = (
    # DS-MVTec and MVTec-AC re-annotate MVTec AD's images. MVTec LOCO's images are its own; it is named here because
    # MMAD examines it beside them, so that none of them is trained on for the others.
    frozenset({"mvtec_ad", "ds_mvtec", "mvtec_ac", "mvtec_loco"}),
    frozenset({"visa", "visa_ac"}),
)


def family(dataset: str) -> frozenset[str]:
    """The datasets that share products or pictures with one, itself included."""
    return next((names for names in RELATIVES if dataset in names), frozenset({dataset}))


def product(dataset: str, category: str) -> tuple[frozenset[str], str]:
    """What a category shows: the same in related datasets, however they write it."""
    return family(dataset), category.lower().replace(" ", "_").replace("-", "_")


def check_unseen(train: Sequence[str], unseen: Sequence[str]) -> None:
    """Refuses to train on a dataset that an evaluation calls unseen, or on a relative of it.

    Args:
        train: Names of the training datasets.
        unseen: Names of the unseen ones.

    Raises:
        UserError: Naming the dataset and why.
    """
    for name in train:
        for other in unseen:
            if family(name) == family(other):
                why = "" if name == other else f", which shares products or images with '{other}'"
                raise UserError(
                    f"Training would use '{name}'{why}; '{other}' is in data.unseen, so an evaluation calls it "
                    "zero-shot. Take it out of data.train, or evaluate on something else."
                )


def check_disjoint(train: Sequence[Sample], zero_shot: Sequence[Sample]) -> None:
    """Refuses a category or an image file that is in both the training and the zero-shot samples.

    Categories are compared within one family of datasets: MVTec AD's `bottle` is DS-MVTec's, but VISION's and MVTec
    AD's `screw` are different products.
    Images are compared by content: files of the same size are hashed, and the hashes remembered (`data.content`).

    Raises:
        UserError: Naming the shared categories, or the first shared image.
    """
    known = {product(s.dataset, s.category) for s in train}
    shared = {(s.dataset, s.category) for s in zero_shot if product(s.dataset, s.category) in known}
    if shared:
        names = ", ".join(f"{category} ({dataset})" for dataset, category in sorted(shared))
        raise UserError(f"In both the training and the zero-shot set: {names}. Remove it from one of them.")
    sizes: dict[int, tuple[list[Sample], list[Sample]]] = defaultdict(lambda: ([], []))
    for side, samples in enumerate((train, zero_shot)):
        for sample in samples:
            sizes[sample.image.stat().st_size][side].append(sample)
    alike = [pair for pair in sizes.values() if pair[0] and pair[1]]  # only these can hold the same bytes
    hashes = hash_files(sample.image for pair in alike for side in pair for sample in side)
    trained = {hashes[sample.image]: sample.image for seen, _ in alike for sample in seen}
    for _, unseen in alike:
        for sample in unseen:
            if found := trained.get(hashes[sample.image]):
                raise UserError(
                    f"The same image is in the training and the zero-shot set: {found} and {sample.image}. "
                    "Remove one of them."
                )
