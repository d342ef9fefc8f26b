"""What the contents of the files say about the samples: does each image decode, does each mask fit its image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.doctor.contents import Facts, Role
from data.doctor.listing import Listed, is_inside, mask_files, relative_path, threshold
from data.doctor.problems import Problem, problem
from data.doctor.tree import Tree
from data.errors import UserError
from data.masks import Polygons, ask_turned, read_mask
from data.pixels.shapes import Runs
from data.sample import Sample

Seen = dict[tuple[Role, str], Facts]
SUFFIXES = {"PNG": {".png"}, "JPEG": {".jpg", ".jpeg"}, "BMP": {".bmp"}}
BROAD = 0.9  # of an image: a mask that marks more may be inverted
DARK = 64  # of 255: at most 14 of 16 bits are used
SUFFIXES["TIFF"] = {".tif", ".tiff"}


def choose_roles(tree: Tree, listed: Listed) -> dict[str, Role]:
    """What each file is looked at for; images that are no part of a sample are decoded only if a problem names them."""
    roles = dict.fromkeys(tree.annotations(), Role.ANNOTATION)
    strays = {item.file for item in listed.problems if item.code == "unread-image"}
    images = {relative_path(sample.image, tree.root) for sample in listed.samples}
    chosen = images | strays if listed.samples else set(tree.images())
    roles.update(dict.fromkeys(chosen, Role.IMAGE))
    masks = {item.file for item in listed.problems if item.code == "orphan-mask"}
    roles.update(dict.fromkeys({*listed.masks, *listed.blank, *masks}, Role.MASK))
    return roles


def check_files(seen: Seen, root: Path) -> Iterator[Problem]:
    """Faults of single files, whoever uses them."""
    for (role, name), facts in seen.items():
        if "fault" in facts:
            yield problem(facts["fault"], name, facts["why"])
        elif role is Role.ANNOTATION:
            yield from (
                problem("path-escapes", name, f"Names '{text}', which lies outside {root}.")
                for text in facts["paths"]
                if not any(is_inside(base / text.replace("\\", "/"), root) for base in (root, (root / name).parent))
            )
        else:
            right = SUFFIXES.get(facts["format"], set())
            if Path(name).suffix.lower() not in right:
                yield problem("suffix-mismatch", name, f"Is a {facts['format']} file.")
            if role is Role.IMAGE and facts.get("pages", 1) > 1:
                yield problem("several-pages", name, f"Holds {facts['pages']} pages.")
            if facts.get("brightest", 255) < DARK:
                message = f"Has {facts['bits']} bits, but its brightest pixel is {facts['brightest']} of 255."
                yield problem("dark-image", name, message)


def check_samples(listed: Listed, seen: Seen, root: Path) -> Iterator[Problem]:
    """Faults that show only when an image and its annotation are put side by side."""
    told = any(item.code == "missing-mask" for item in listed.problems)  # by the reader, which knows the mask's name
    for sample in listed.samples:
        image = relative_path(sample.image, root)
        if not is_inside(sample.image, root):
            yield problem("path-escapes", image, f"The annotations name {sample.image}, outside {root}.")
            continue
        if not sample.image.is_file():
            yield problem("missing-image", image, "The annotations name this image, but there is no such file.")
            continue
        size = seen.get((Role.IMAGE, image), {}).get("size")
        if sample.defect is not None and sample.mask is None and not told:
            code = "no-mask" if listed.optional_masks else "missing-mask"
            yield problem(code, image, f"Shows '{sample.defect}', but no mask says where.")
        elif isinstance(sample.mask, Polygons):
            yield from _check_polygons(sample, size, seen, root)
        elif sample.mask is not None:
            yield from _check_mask(sample, size, seen, root)
    for name in sorted(listed.blank):
        if marked := sum(count for value, count in seen.get((Role.MASK, name), {}).get("levels", ()) if value > 127):
            yield problem("marked-normal", name, f"Belongs to a normal image, but marks {marked:,} pixels.")


def _check_mask(sample: Sample, size: list[int] | None, seen: Seen, root: Path) -> Iterator[Problem]:
    image = relative_path(sample.image, root)
    limit = threshold(sample)
    levels: dict[int, int] = {}
    readable = True
    for path in mask_files(sample):
        name = relative_path(path, root)
        facts = seen.get((Role.MASK, name))
        if not is_inside(path, root):
            yield problem("path-escapes", name, f"The annotation of {image} names this mask, outside {root}.")
        elif facts is None:
            yield problem("missing-mask", name, f"{image} shows '{sample.defect}', but there is no such mask.")
        elif "fault" not in facts:
            if size and facts["size"] != size:
                turned = ask_turned("mask", facts["size"], size)
                told = f"Is {_by(facts['size'])}, its image {image} is {_by(size)}.{turned}"
                yield problem("size-mismatch", name, told)
            if limit == 0:
                yield from _check_softness(name, facts)
            for value, count in facts["levels"]:
                levels[value] = levels.get(value, 0) + count
            continue
        readable = False
    if readable and levels:
        yield from _check_extent(relative_path(mask_files(sample)[0], root), image, sample.defect, levels, limit)


def _check_extent(name: str, image: str, defect: str | None, levels: dict[int, int], limit: int) -> Iterator[Problem]:
    marked = sum(count for value, count in levels.items() if value > limit)
    if defect is None and marked:
        yield problem("marked-normal", name, f"Belongs to the normal image {image}, but marks {marked:,} pixels.")
    elif defect is not None and not marked:
        high = max(levels)
        why = f"its highest value is {high}, defects are above {limit}" if high else "it is all zero"
        yield problem("empty-mask", name, f"Marks nothing ({why}), but {image} shows '{defect}'.")
    elif marked > BROAD * sum(levels.values()):
        share = "every pixel" if marked == sum(levels.values()) else f"{marked / sum(levels.values()):.0%}"
        yield problem("full-mask", name, f"Marks {share} of {image}.")


def _check_softness(name: str, facts: Facts) -> Iterator[Problem]:
    marked = sum(count for value, count in facts["levels"] if value)
    low = sum(count for value, count in facts["levels"] if 0 < value < 128)
    deep = facts["levels"][-1][0] > 255  # numbers of regions, some low and some high
    if low and low < marked and not deep:  # class indices are all low, a clean mask is all high
        values = len(facts["levels"])
        share = f"{low / marked:.1%} of what counts as defect is darker than half"
        yield problem("soft-mask", name, f"Holds {values} values; {share}.")


def _check_polygons(sample: Sample, size: list[int] | None, seen: Seen, root: Path) -> Iterator[Problem]:
    assert isinstance(sample.mask, Polygons)
    name, image = relative_path(sample.mask.path, root), relative_path(sample.image, root)
    points = [point for shape in sample.mask.points if not isinstance(shape, Runs) for point in shape]
    if size is None:
        return
    drawn_on = seen.get((Role.ANNOTATION, name), {}).get("image_size", size)
    if drawn_on != size:
        yield problem("size-mismatch", name, f"Was drawn on {_by(drawn_on)}, its image {image} is {_by(size)}.")
    outside = sum(not (-1 <= x <= size[0] and -1 <= y <= size[1]) for x, y in points)
    if outside:
        yield problem("polygon-outside", name, f"{outside} of {len(points)} points leave {image} ({_by(size)}).")
    try:
        empty = not read_mask(sample.mask, (size[1], size[0])).any()
    except (UserError, ValueError) as error:
        yield problem("bad-annotation", name, f"Its polygons cannot be drawn: {error}")
        return
    if empty:
        yield problem("empty-mask", name, f"Its polygons mark nothing in {image}, which shows '{sample.defect}'.")


def _by(size: list[int]) -> str:
    return f"{size[0]}x{size[1]}"
