"""Photos that people have judged, among those that an expert is fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError, printable
from data.masks import MaskFile
from data.sample import Sample
from eval.judgements.truth import UNNAMED, Told, read_truth
from train.experts.fitting import FitExpertConfig

DATASET = "judged"
PRODUCT = "product"  # of photos that were judged without one, where there is no other


def join_judged(samples: Sequence[Sample], config: FitExpertConfig) -> list[Sample]:
    """The samples of a folder of photos, with those that were judged: what was said of one counts, not its folder.

    A photo that was judged without a product is of the only one that there is. Photos of a product that is not fitted
    are left out and counted.

    Args:
        samples: Those of `images`; may be empty.
        config: Names the log, and the categories to fit.

    Raises:
        UserError: If the log cannot be read, it tells of no photo that can be fitted on, or photos that were judged
            without a product could be of several.
    """
    truth = read_truth(Path(config.judgements))
    products = {sample.category for sample in samples} or {told.judgement.category for told in truth.told} - {""}
    wanted = set(config.categories) or products or {PRODUCT}
    trained = {sample.category for sample in samples if sample.is_normal and sample.split == "train"}
    judged: list[Sample] = []
    skipped = Counter(why for _, why in truth.skipped)
    for told in truth.told:
        product = told.judgement.category or _only(wanted, config.judgements)
        if product in wanted:
            judged.append(_sample(told, product, "train" if product in trained else "test"))
        else:
            skipped[f"of {product}, which is not fitted"] += 1
    if not judged:
        raise UserError(
            f"No photo in {config.judgements} is of {', '.join(sorted(wanted))}. Check the products' names."
        )
    left = truth.leaves(sample.image for sample in samples)
    kept = [sample for sample in samples if sample.image in left]
    sound = sum(sample.is_normal for sample in judged)
    print(f"{config.judgements}: {sound} sound and {len(judged) - sound} defective photos that were judged", flush=True)
    for why, count in skipped.items():
        print(printable(f"Left out of {config.judgements}: {count} ({why})"), flush=True)
    if taken := len(samples) - len(kept):
        print(f"{taken} photos of {config.images} count as they were judged", flush=True)
    return [*kept, *judged]


def _only(products: set[str], folder: str) -> str:
    if len(products) != 1:
        raise UserError(
            f"Photos in {folder} were judged without a product, and there are several: {', '.join(sorted(products))}. "
            "Choose one by categories=[NAME]."
        )
    return next(iter(products))


def _sample(told: Told, product: str, sound: str) -> Sample:
    return Sample(
        id=f"{DATASET}/{told.image.name}",
        dataset=DATASET,
        category=product,
        split=sound if told.is_sound else "test",
        image=told.image,
        defect=None if told.is_sound else told.defect or UNNAMED,
        mask=MaskFile(told.mask) if told.mask is not None else None,
    )
