"""A user's own photos: a folder of sound ones, others of defective ones, called as people call them.

    <product>/good/ …            sound: good, OK, "good parts", normal, no defects, …
    <product>/bad/ …             defective, kind unknown: bad, NG, "not ok", defects, rejected, …
    <product>/bad/<defect>/ …    defective, the kind is the folder's name
    <product>/<defect>/ …        the same, beside the sound ones
    <product>/masks/ …           optional: masks as the photos lie, by their folder's name, or all in one folder

A mask may also lie beside its photo, as `<photo>_mask.png`. Photos may lie deeper: `good/Monday/1.jpg`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from data.faults import reporting
from data.masks import MaskFile
from data.readers.defect_names import readable
from data.readers.listing import Listed, Skipped, list_folders, list_images, list_names
from data.readers.pairing import pair_masks
from data.sample import Sample

DATASET = "photos"
LAYOUT = (
    "a folder with the sound photos in good/ and the defective ones, if there are any, in bad/ or bad/<defect>/; masks "
    "are optional, in masks/ (other names will do: OK, 'good parts', NG, 'not ok')"
)
SOUND = {
    "good",
    "ok",
    "okay",
    "normal",
    "sound",
    "nominal",
    "pass",
    "passed",
    "accepted",
    "intact",
    "conforming",
    "gut",
}
DEFECTIVE = {
    *("bad", "ng", "nok", "defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal", "fail"),
    *("failed", "faulty", "faults", "reject", "rejects", "rejected", "scrap", "nonconforming", "schlecht"),
}
NOT = {"no", "not", "non", "without", "free", "nicht"}
MASKS = {"mask", "masks", "groundtruth", "gt"}
NOT_PRODUCTS = {"train", "test", "validation", "images"}  # folders inside the layouts of other readers
RESULTS = {"expert.json", "gate.json", "results.csv", "results.jsonl"}  # what EIAD wrote there is no photo
MASK_ENDING = "_mask"


@dataclass(slots=True)
class Layout:
    """What the folders of one product are.

    Attributes:
        sound: Folders of sound photos.
        defective: Folders of defective ones, whose sub-folders are kinds of defects.
        kinds: Folders of one kind of defect.
        masks: Folder of masks; None where there is none.
    """

    sound: list[Path] = field(default_factory=list)
    defective: list[Path] = field(default_factory=list)
    kinds: list[Path] = field(default_factory=list)
    masks: Path | None = None


def read_photos(root: Path, *, good: str = "", defect: str = "defect", threshold: int = 0) -> Listed:
    """Lists one product, or a folder of products; the folder's name is the category, every sample is in `test`.

    Args:
        root: The product's folder, or a folder that holds one folder per product.
        good: Name of the folder of sound photos, where it says something else; `.` takes all photos that lie in `root`
            itself for sound.
        defect: Name of the defects that lie directly in `bad/`.
        threshold: Mask pixels above it are defect, 0..254.

    Raises:
        UserError: If there is no folder of sound photos, a name can be read either way, a mask belongs to no image, or
            two masks to one.
    """
    if not 0 <= threshold <= 254:
        raise UserError(f"Option threshold={threshold} of reader '{DATASET}' must be within 0..254.")
    root = root if root.name.strip(".") else root.resolve()  # `.` has no name
    products = find_products(root, good)
    if not products:
        seen = ", ".join(folder.name for folder in list_folders(root)) or "no folder"
        raise UserError(
            f"No folder of sound photos in {root} (it has {seen}). EIAD takes {LAYOUT}. If it has another name, say "
            "which: good=NAME; if the photos lie in the folder itself and all are sound: good=. (a dot)."
        )
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for product in products:
        with reporting("bad-annotation", product):
            layout = find_layout(product, good)
            assert layout is not None
            samples += _read_product(product, layout, defect, threshold)
            skipped += _loose(product) if good != "." else []
    return Listed(samples, skipped)


def find_products(root: Path, good: str = "") -> list[Path]:
    """Folders of products: the root itself, or at least one of its folders; empty where there is none."""
    if find_layout(root, good):
        return [root]
    return [folder for folder in list_folders(root) if good != "." and find_layout(folder, good)]


def find_layout(product: Path, good: str = "") -> Layout | None:
    """What the folders of a product are, by their names; None where none is called like sound photos.

    Args:
        product: Its folder.
        good: What the folder of sound photos is called; empty goes by meaning.
    """
    if product.name.lower() in NOT_PRODUCTS:
        return None
    layout = Layout(sound=[product] if good == "." and list_images(product) else [])
    for folder in list_folders(product):
        meaning = "sound" if folder.name == good else "" if good else _meaning(folder.name)
        if _is_masks(folder):
            layout.masks = folder
        elif meaning == "sound":
            layout.sound.append(folder)
        elif meaning == "defective" or (good and _meaning(folder.name) == "defective"):
            layout.defective.append(folder)
        elif folder.name.lower() not in NOT_PRODUCTS and not RESULTS & set(list_names(folder)):
            layout.kinds.append(folder)
    return layout if layout.sound else None


def _is_masks(folder: Path) -> bool:
    return "".join(_words(folder.name)) in MASKS


def _meaning(name: str) -> str:
    """`sound` or `defective`, by the words of a folder's name; empty where they say neither, or both."""
    words = _words(name)
    sound = bool(SOUND & set(words)) or "".join(words) == "io"  # "i. O.", "n. i. O.": in (not in) order
    defective = bool(DEFECTIVE & set(words)) or "".join(words) == "nio"
    if sound == defective:
        return ""
    return "sound" if sound != bool(NOT & set(words)) else "defective"


def _words(name: str) -> list[str]:
    """Words of a name, in lower case: `GoodParts_2` is good, parts, 2."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _read_product(product: Path, layout: Layout, defect: str, threshold: int) -> list[Sample]:
    samples = [_sample(product, image) for folder in layout.sound for image in _photos(folder, deep=folder != product)]
    groups = [(folder, readable(DATASET, folder.name)) for folder in layout.kinds]
    for container in layout.defective:
        groups += [(container, defect)]
        for folder in list_folders(container):
            if _is_masks(folder):
                layout.masks = layout.masks or folder
            else:
                groups += [(folder, readable(DATASET, folder.name))]
    defective = [
        (image, name) for place, name in groups for image in _photos(place, deep=place not in layout.defective)
    ]
    masks = _find_masks(product, layout.masks, [image for image, _ in defective])
    for image, name in defective:
        mask = masks.get(image)
        samples.append(_sample(product, image, name, MaskFile(mask, threshold) if mask else None))
    return sorted(samples, key=lambda sample: sample.image.parts)


def _photos(folder: Path, *, deep: bool) -> Iterator[Path]:
    """Photos in a folder, those that are masks of others left out."""
    images = list_images(folder)
    stems = {image.stem for image in images}
    for image in images:
        if not (image.stem.endswith(MASK_ENDING) and image.stem.removesuffix(MASK_ENDING) in stems):
            yield image
    for deeper in list_folders(folder) if deep else ():
        yield from _photos(deeper, deep=True)


def _find_masks(product: Path, folder: Path | None, images: list[Path]) -> dict[Path, Path]:
    """Image → its mask: beside it, or in the folder of masks."""
    found = {}
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        beside = [path for path in list_masks(image) if path.is_file()]
        if beside:
            found[image] = beside[0]
        elif folder is not None:
            by_folder.setdefault(_mask_folder(product, folder, image.parent), []).append(image)
    for place, group in by_folder.items():
        found |= {
            image: mask for image, mask in zip(group, pair_masks(group, place, required=False), strict=True) if mask
        }
    return found


def list_masks(image: Path) -> list[Path]:
    """Where the mask of a photo would lie beside it."""
    return [image.with_name(f"{image.stem}{MASK_ENDING}{suffix}") for suffix in (".png", ".bmp", ".tif")]


def _mask_folder(product: Path, masks: Path, folder: Path) -> Path:
    """Where the masks of a folder of photos lie: as the photos do, by the last name, or all in one folder."""
    below = folder.relative_to(product)
    places = [masks / below, masks / Path(*below.parts[1:]), masks / folder.name]
    return next((place for place in places if place != masks and place.is_dir()), masks)


def _loose(product: Path) -> list[Skipped]:
    reason = "lies beside the folders of sound and defective photos"
    return [Skipped(_id(product, image), reason, product.name, "test") for image in list_images(product)]


def _sample(product: Path, image: Path, defect: str | None = None, mask: MaskFile | None = None) -> Sample:
    return Sample(
        id=_id(product, image),
        dataset=DATASET,
        category=product.name,
        split="test",
        image=image,
        defect=defect,
        mask=mask,
    )


def _id(product: Path, image: Path) -> str:
    return f"{DATASET}/{image.relative_to(product.parent).as_posix()}"
