"""Eyecandies: rendered candies (Bonfiglioli et al., 2022), colour images only."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import yaml

from data.errors import UserError
from data.faults import report, reporting
from data.masks import MaskFile
from data.readers.annotations import read_lines, take
from data.readers.defect_names import join_names, readable
from data.readers.listing import Listed, Skipped, list_files, list_folders
from data.readers.pairing import report_missing, report_orphan
from data.sample import Sample

SPLITS = ("train", "val", "test_public", "test_private")
UNLABELLED = "test_private"
TYPES = ("bumps", "dents", "colors", "normals")
DEFECT = "defect"
NAME = re.compile(r"(\d+)_(\w+)")
LIGHTINGS = 6


def read_eyecandies(root: Path, *, lighting: int = 5) -> Listed:
    """Lists Eyecandies: `<candy>/<split>/data/<index>_image_<lighting>.png`, and `<index>_mask.png` where anomalous.

    `<index>_metadata.yaml` tells whether a candy is anomalous, and of which types. Where it tells no types, they are
    those whose `<index>_<type>_mask.png` exists; where all four exist (the official download writes empty ones as
    well) the name is `defect`, because masks are not decoded here. Several types are joined by `and`.

    `test_private` has no annotation: its images are left out and listed.

    Args:
        root: Folder that holds one folder per candy.
        lighting: Which of the six renderings is the image: 0 all spotlights, 1 to 4 one spotlight, 5 global light.
            The papers do not say; 5 is the plainest.

    Raises:
        UserError: If a rendering, its metadata or the mask of an anomalous one is missing, metadata is malformed, a
            mask belongs to no image, or two files have the same number and item.
    """
    if not 0 <= lighting < LIGHTINGS:
        raise UserError(f"Option lighting={lighting} of reader 'eyecandies' must be within 0..{LIGHTINGS - 1}.")
    listed = Listed([], [])
    for candy in list_folders(root):
        for split in SPLITS:
            for items in _index(candy / split / "data").values():
                with reporting("bad-annotation", items.get("metadata", next(iter(items.values())))):
                    if (image := _find_image(items, lighting)) is None:
                        continue
                    if split == UNLABELLED:
                        skipped = Skipped(_name(root, image), "test_private has no annotation", candy.name, split)
                        listed.skipped.append(skipped)
                    else:
                        listed.samples.append(_read_sample(root, candy.name, split, image, items))
    return listed


def _index(folder: Path) -> dict[int, dict[str, Path]]:
    """Files of each number by item (`image_5`, `mask`, …), whatever the zero padding."""
    numbers: dict[int, dict[str, Path]] = defaultdict(dict)
    for path in list_files(folder):
        if not (match := NAME.fullmatch(path.stem)):
            continue
        items, item = numbers[int(match[1])], match[2]
        if item in items:
            message = f"Two files of one number: {items[item]} and {path}. Remove one of them."
            report("bad-annotation", path, message)
        else:
            items[item] = path
    return dict(sorted(numbers.items()))


def _find_image(items: dict[str, Path], lighting: int) -> Path | None:
    """The rendering with a lighting; None where it is missing and a mask of it was reported."""
    if image := items.get(f"image_{lighting}"):
        return image
    if masks := [path for item, path in items.items() if item.endswith("mask")]:
        report_orphan(masks[0])
        return None
    raise UserError(f"Missing image_{lighting}.png beside {next(iter(items.values()))}. Download the set again.")


def _read_sample(root: Path, category: str, split: str, image: Path, items: dict[str, Path]) -> Sample:
    defect = _read_defect(image, items)
    mask = items.get("mask") if defect else None
    if defect and mask is None:
        report_missing(image, image.with_name(f"{image.name.split('_')[0]}_mask.png"))
    return Sample(
        id=_name(root, image),
        dataset="eyecandies",
        category=category,
        split=split,
        image=image,
        defect=defect,
        mask=MaskFile(mask) if mask else None,
    )


def _read_defect(image: Path, items: dict[str, Path]) -> str | None:
    path = items.get("metadata")
    if path is None:
        raise UserError(f"Image without its metadata: {image} needs <index>_metadata.yaml. Download the set again.")
    try:
        metadata = yaml.load("\n".join(read_lines(path)), Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"Not valid YAML: {path}. Download it again.") from error
    if not take(metadata, "anomalous", int, path):
        return None
    found = [kind for kind in TYPES if metadata.get(kind)]
    found = found or [kind for kind in TYPES if f"{kind}_mask" in items]
    if not found or (len(found) == len(TYPES) and not any(kind in metadata for kind in TYPES)):
        return DEFECT
    return join_names(readable("eyecandies", kind, source=path) for kind in found)


def _name(root: Path, image: Path) -> str:
    return f"eyecandies/{image.relative_to(root).as_posix()}"


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where PyYAML was built with libyaml
