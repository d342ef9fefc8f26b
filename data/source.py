"""A source: which reader, where, and which part of it. This is what a `data` config names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from data.masks import MaskFile, MaskFiles, decode_mask
from data.readers import READERS
from data.sample import Sample


@dataclass(kw_only=True, slots=True)
class Source:
    """One dataset, or a part of it.

    Attributes:
        reader: Key of `data.readers.READERS`.
        root: Folder of the official download.
        splits: Splits to keep; empty keeps all.
        categories: Categories to keep; empty keeps all.
        limit: At most this many samples, spread evenly over the listing; None keeps all.
        skip_empty_masks: Leave out (and list) anomalous images whose mask is empty, instead of failing on them.
    """

    reader: str
    root: str
    splits: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    limit: int | None = None
    skip_empty_masks: bool = False


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """The two sides of a zero-shot experiment.

    Attributes:
        train: What EDDM and MDLM are trained on.
        zero_shot: What they are evaluated on; shares no category with `train`.
        name: Name of the file in `configs/data`.
    """

    train: list[Source]
    zero_shot: list[Source]
    name: str = ""

    def part(self, name: str) -> list[Source]:
        """The sources of `train` or `zero_shot`.

        Raises:
            UserError: For any other name.
        """
        if name not in ("train", "zero_shot"):
            raise UserError(f"Unknown part '{name}'. Choose train or zero_shot.")
        return self.train if name == "train" else self.zero_shot


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of some sources, and what was left out by rule: (sample id, reason)."""

    samples: list[Sample]
    skipped: list[tuple[str, str]]


def load_samples(sources: Sequence[Source]) -> Listing:
    """Lists the samples of several sources, in order; decodes no image (masks only under `skip_empty_masks`).

    Raises:
        UserError: If a reader is unknown, a root is missing, a category does not exist, a source is empty,
            or two samples share an id.
    """
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for source in sources:
        listed = _load(source)
        empty = {sample.id for sample in listed if source.skip_empty_masks and _has_empty_mask(sample)}
        samples += [sample for sample in listed if sample.id not in empty]
        skipped += [(sample_id, "empty mask on an anomalous image") for sample_id in sorted(empty)]
    images: dict[str, Path] = {}
    for sample in samples:
        if sample.id in images:
            raise UserError(f"Two samples share the id {sample.id}: {images[sample.id]} and {sample.image}.")
        images[sample.id] = sample.image
    return Listing(samples, skipped)


def _has_empty_mask(sample: Sample) -> bool:
    return isinstance(sample.mask, MaskFile | MaskFiles) and not decode_mask(sample.mask).any()


def _load(source: Source) -> list[Sample]:
    if source.reader not in READERS:
        raise UserError(f"Unknown reader '{source.reader}'. Known readers: {', '.join(sorted(READERS))}.")
    root = Path(source.root)
    if not root.is_dir():
        raise UserError(f"No dataset folder at {root} (reader '{source.reader}'). Check the path, or download it.")
    samples = READERS[source.reader](root)
    known = {sample.category for sample in samples}
    if unknown := set(source.categories) - known:
        raise UserError(f"No category {sorted(unknown)} in {root}. It has: {', '.join(sorted(known)) or 'none'}.")
    kept = [
        sample
        for sample in samples
        if (not source.splits or sample.split in source.splits)
        and (not source.categories or sample.category in source.categories)
    ]
    if not kept:
        raise UserError(
            f"No samples in {root} (reader '{source.reader}', splits {source.splits or 'all'}). "
            "Is it the right folder, with the layout of the official download?"
        )
    if source.limit is not None and source.limit < len(kept):
        kept = [kept[index * len(kept) // source.limit] for index in range(source.limit)]
    return kept
