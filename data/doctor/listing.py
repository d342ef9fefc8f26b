"""What the dataset's reader makes of a tree: samples, faults, and which file plays which part."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.doctor.problems import Problem, kinds, problem
from data.doctor.recognise import Recognition
from data.doctor.signatures import matches
from data.doctor.tree import Tree
from data.errors import UserError
from data.faults import collect_faults
from data.masks import MaskFile, MaskFiles
from data.readers import listing
from data.readers.registry import find_reader
from data.sample import Sample


@dataclass(slots=True)
class Listed:
    """A dataset as its reader sees it. Paths are relative to the root, in POSIX form.

    Attributes:
        samples: What the reader lists.
        masks: Threshold of each mask file that a sample has.
        blank: Masks that the layout gives to normal images.
        extras: Number of images that belong to the download but are no samples, by rule.
        skipped: Samples that the reader leaves out by rule, with its reason.
        optional_masks: Whether a defective image may come without a mask.
        problems: What the reader reports, and files that it does not use.
    """

    samples: list[Sample] = field(default_factory=list)
    masks: dict[str, int] = field(default_factory=dict)
    blank: set[str] = field(default_factory=set)
    extras: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    optional_masks: bool = False
    problems: list[Problem] = field(default_factory=list)


def list_dataset(found: Recognition, tree: Tree, options: dict[str, Any] | None = None) -> Listed:
    """Lists the samples of a recognised dataset; a fault of the dataset becomes a problem and stops nothing.

    Args:
        found: The dataset.
        tree: Its files.
        options: Options for its reader, for readers that take them.
    """
    listed = Listed(optional_masks=found.signature is not None and found.signature.by_meaning)
    if found.reader is None:
        return listed
    with collect_faults() as faults:
        try:
            read = _call(find_reader(found.reader), found.reader, tree.root, options or {})
            listed.samples = read.samples
            listed.skipped = [(item.id, item.reason) for item in read.skipped]
        except (UserError, OSError) as error:
            listed.problems.append(problem("reader-stopped", tree.root, str(error)))
    for fault in faults:
        code = fault.code if fault.code in kinds() else "bad-annotation"
        listed.problems.append(problem(code, relative_path(fault.file, tree.root), fault.message))
    if not listed.samples and not listed.problems:
        listed.problems.append(problem("no-samples", tree.root, f"The reader '{found.reader}' finds no image."))
    _assign(listed, found, tree)
    return listed


def _call(reader: listing.Reader, name: str, root: Path, options: dict[str, Any]) -> listing.Listed:
    try:
        inspect.signature(reader).bind(root, **options)
    except TypeError as error:
        raise UserError(f"options={options} do not fit the reader '{name}': {error}.") from error
    read = reader(root, **options)
    return read if isinstance(read, listing.Listed) else listing.Listed(read, [])


def relative_path(path: Path, root: Path) -> str:
    """A path below the root in POSIX form; a path outside it stays whole. Links are not followed."""
    text, start = os.path.normpath(path), f"{root}{os.sep}"  # texts: pathlib takes minutes for a large dataset
    return text.removeprefix(start).replace(os.sep, "/")


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path lies below the root, `..` taken into account, links not followed."""
    return os.path.normpath(path).startswith(f"{root}{os.sep}")


def mask_files(sample: Sample) -> list[Path]:
    """The raster files of a sample's mask: none for polygons, one, or several whose union it is."""
    if isinstance(sample.mask, MaskFiles):
        return list(sample.mask.paths)
    return [sample.mask.path] if isinstance(sample.mask, MaskFile) else []


def threshold(sample: Sample) -> int:
    """The value that defects in a sample's raster mask are above."""
    return sample.mask.threshold if isinstance(sample.mask, MaskFile | MaskFiles) else 0


def _assign(listed: Listed, found: Recognition, tree: Tree) -> None:
    """Says which file is the mask of a sample, which belongs to a normal image, and which to nobody."""
    signature, used = found.signature, set()
    for sample in listed.samples:
        used.add(relative_path(sample.image, tree.root))
        for path in mask_files(sample):
            listed.masks[relative_path(path, tree.root)] = threshold(sample)
    used |= {sample_id.partition("/")[2] for sample_id, _ in listed.skipped}
    if signature is None or not listed.samples:
        return
    tops = {name.split("/")[0] for name in used}
    told = {item.file for item in listed.problems if item.code == "orphan-mask"}
    for name in tree.images():
        if name in used or name in listed.masks:
            continue
        other = matches(name.split("/")[0], signature.variants) and name.split("/")[0] not in tops
        if matches(name, signature.blank):
            listed.blank.add(name)
        elif other or matches(name, signature.extras):
            listed.extras += 1
        elif name in told:
            continue
        elif matches(name, signature.masks):
            listed.problems.append(problem("orphan-mask", name, "No image of the dataset has this mask."))
        else:
            listed.problems.append(problem("unread-image", name, "No sample uses this image."))
