"""A source: which reader, where, and which part of it. This is what a `data` config names."""

from __future__ import annotations

import gc
import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.faults import reporting
from data.masks import MaskFile, MaskFiles, decode_mask
from data.readers.downloads import how_to_get
from data.readers.listing import Listed, Reader, Skipped
from data.readers.registry import find_reader
from data.sample import Sample

UNSET = "$EIAD_DATA"  # what configs/data writes for the folder while the variable is not set


@dataclass(kw_only=True, slots=True)
class Source:
    """One dataset, or a part of it.

    Attributes:
        reader: Name of the reader that knows the dataset's layout; one of your own is `package.module:function`.
        root: Folder of the official download.
        options: Options of that reader, by name; its docstring tells them.
        splits: Splits to keep; empty keeps all.
        categories: Categories to keep; empty keeps all.
        limit: At most this many samples, spread evenly over the listing; None keeps all.
        skip_empty_masks: Leave out (and list) anomalous images whose mask is empty, instead of failing on them.
    """

    reader: str
    root: str
    options: dict[str, Any] = field(default_factory=dict)
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
        weights: Share of each training dataset in the MDLM's batches, by name, in any unit; empty draws all images
            alike.
        unseen: Datasets that some evaluation calls unseen, by name: training refuses them and their relatives.
        questions: Readers of `train` that DDQA asks about; empty takes all.
    """

    train: list[Source]
    zero_shot: list[Source]
    name: str = ""
    weights: dict[str, float] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def part(self, name: str) -> list[Source]:
        """The sources of `train` or `zero_shot`.

        Raises:
            UserError: For any other name.
        """
        if name not in ("train", "zero_shot"):
            raise UserError(f"Unknown part '{name}'. Choose train or zero_shot.")
        return self.train if name == "train" else self.zero_shot

    def asked(self, name: str) -> list[Source]:
        """The sources of a part that DDQA's questions are made from.

        Raises:
            UserError: For an unknown part, or if `questions` names what `train` does not hold.
        """
        sources = self.part(name)
        if name != "train" or not self.questions:
            return sources
        if unknown := set(self.questions) - {source.reader for source in sources}:
            raise UserError(f"data.questions names {sorted(unknown)}, which data.train does not hold. Remove them.")
        return [source for source in sources if source.reader in self.questions]


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of some sources, and what was left out by rule: (sample id, reason)."""

    samples: list[Sample]
    skipped: list[tuple[str, str]]


def load_samples(sources: Sequence[Source]) -> Listing:
    """Lists the samples of several sources, in order; decodes no image (masks only under `skip_empty_masks`).

    Raises:
        UserError: If a reader or one of its options is unknown, a root is missing, a category does not exist, a
            source is empty, or two samples share an id.
    """
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for source in sources:
        listed = _load(source)
        empty = {sample.id for sample in listed.samples if source.skip_empty_masks and _has_empty_mask(sample)}
        samples += [sample for sample in listed.samples if sample.id not in empty]
        skipped += [(left_out.id, left_out.reason) for left_out in listed.skipped]
        skipped += [(sample_id, "empty mask on an anomalous image") for sample_id in sorted(empty)]
    check_ids(samples)
    return Listing(samples, skipped)


def check_source(source: Source) -> None:
    """Checks what can be told of a source without listing it.

    Raises:
        UserError: If the reader or one of its options is unknown, or the root is missing.
    """
    reader, root = find_reader(source.reader), Path(source.root)
    get = how_to_get(source.reader, root)
    if not root.is_dir() and str(root).startswith(UNSET):
        name = root.relative_to(UNSET)
        raise UserError(f"Set the environment variable EIAD_DATA first: its folder holds {name}. {get}.")
    if not root.is_dir():
        raise UserError(f"No dataset folder at {root} (reader '{source.reader}'). {get}.")
    _check_options(source, reader)


def check_ids(samples: Sequence[Sample]) -> None:
    """Refuses two samples of one id.

    Raises:
        UserError: Naming both images.
    """
    images: dict[str, Path] = {}
    for sample in samples:
        if sample.id in images:
            raise UserError(f"Two samples share the id {sample.id}: {images[sample.id]} and {sample.image}.")
        images[sample.id] = sample.image


def _has_empty_mask(sample: Sample) -> bool:
    if isinstance(sample.mask, MaskFile | MaskFiles):
        with reporting("unreadable-mask", sample.image):
            return not decode_mask(sample.mask).any()
    return False


def _load(source: Source) -> Listed:
    root = Path(source.root)
    listed = _read(source, root)
    known = {sample.category for sample in listed.samples}
    if unknown := set(source.categories) - known:
        raise UserError(f"No category {sorted(unknown)} in {root}. It has: {', '.join(sorted(known)) or 'none'}.")
    kept = [sample for sample in listed.samples if _is_wanted(source, sample)]
    if not kept:
        raise UserError(_say_what_is_there(source, root, listed.samples))
    if source.limit is not None and source.limit < len(kept):
        kept = [kept[index * len(kept) // source.limit] for index in range(source.limit)]
    return Listed(kept, [left_out for left_out in listed.skipped if _is_wanted(source, left_out)])


def _say_what_is_there(source: Source, root: Path, samples: Sequence[Sample]) -> str:
    """Why a selection is empty."""
    of = f" of {', '.join(source.categories)}" if source.categories else ""
    counts = Counter(s.split for s in samples if not source.categories or s.category in source.categories)
    if not counts:
        hint = f"What does it hold? python -m scripts.doctor data={root}"
        return f"No samples in {root} (reader '{source.reader}', splits {source.splits or 'all'}). {hint}"
    there = ", ".join(f"{split} ({count} images)" for split, count in sorted(counts.items()))
    return (
        f"No samples of the splits {', '.join(source.splits)} in {root} (reader '{source.reader}'). It has{of}: "
        f"{there}. Choose splits among these, for example splits=[{min(counts)}]."
    )


def _is_wanted(source: Source, found: Sample | Skipped) -> bool:
    in_split = not source.splits or found.split in source.splits
    return in_split and (not source.categories or found.category in source.categories)


def _read(source: Source, root: Path) -> Listed:
    check_source(source)
    with _paused_collector():
        listed = find_reader(source.reader)(root, **source.options)
    return listed if isinstance(listed, Listed) else Listed(listed, [])


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Listing makes a million objects, none of them garbage: searching them for cycles costs a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_options(source: Source, reader: Reader) -> None:
    """A reader's options are its keyword-only arguments, whose annotations are plain types."""
    parameters = inspect.signature(reader, eval_str=True).parameters.values()
    known = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    for name, value in source.options.items():
        if name not in known:
            have = f"It has: {', '.join(known)}." if known else "It has none."
            raise UserError(f"Reader '{source.reader}' has no option '{name}'. {have}")
        if not isinstance(value, known[name]) or (isinstance(value, bool) and known[name] is not bool):
            kind = getattr(known[name], "__name__", str(known[name]))
            raise UserError(f"Option {name}={value!r} of reader '{source.reader}' must be {kind}.")
