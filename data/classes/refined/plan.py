"""Where each image of the raw dataset goes, before a file is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from data.classes.refined.rules import NORMAL, Counts, mvtec_ac_class, visa_ac_classes
from data.errors import UserError
from data.files import read_csv
from data.masks import MaskFile
from data.sample import Sample

DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One image of the built dataset.

    Attributes:
        sample: The image in the raw dataset.
        name: Its class.
        stem: Its file name without the suffix.
    """

    sample: Sample
    name: str
    stem: str

    @property
    def image(self) -> Path:
        """Where the image goes, below the root."""
        sample = self.sample
        return Path(sample.category, sample.split, self.name, self.stem + sample.image.suffix)

    @property
    def mask(self) -> Path | None:
        """Where its mask goes, below the root; None for a normal image."""
        if self.name == NORMAL or not isinstance(self.sample.mask, MaskFile):
            return None
        suffix = self.sample.mask.path.suffix
        return Path(self.sample.category, "ground_truth", self.name, f"{self.stem}_mask{suffix}")


def read_corrections(path: Path) -> dict[str, str]:
    """Reads corrections: image, relative to the raw dataset's root with `/` → class, or `drop`.

    Either a YAML mapping, or a CSV with the columns `image` and `class`.

    Raises:
        UserError: If the file is missing or malformed, or names an image twice.
    """
    if path.suffix.lower() == ".csv":
        rows = [(row["image"], row["class"]) for row in read_csv(path, ("image", "class"))]
    else:
        rows = _read_yaml(path)
    corrections: dict[str, str] = {}
    for image, name in rows:
        if image in corrections:
            raise UserError(f"Corrected twice in {path}: {image}. Keep one of the lines.")
        corrections[image] = name
    return corrections


def _read_yaml(path: Path) -> list[tuple[str, str]]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except FileNotFoundError as error:
        raise UserError(f"No corrections file at {path}. Check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"Not valid YAML: {path}: {error}. Repair it.") from error
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode) or any(
        not isinstance(node, yaml.ScalarNode) for pair in root.value for node in pair
    ):
        raise UserError(f"Not a corrections file: {path}. Expected lines `image: class` or `image: drop`.")
    return [(key.value, value.value) for key, value in root.value]  # with repeated keys, which a dict would hide


def plan_mvtec_ac(samples: Sequence[Sample], corrections: Mapping[str, str], release: Counts) -> list[Placement]:
    """Places the images of MVTec AD by the rules of VELM, Sec. 3.3.1, then by the corrections.

    The release renumbered its files; here an image keeps its stem, and one that changes its class has the old
    class before it (`cut/hole_000.png`), so that every file can be traced.

    Raises:
        UserError: If a correction fits no image, or a class is not the release's.
    """
    classes = {_path(sample): mvtec_ac_class(sample.category, sample.image.parent.name) for sample in samples}
    return _place(samples, classes, corrections, release, lambda sample, name: sample.image.parent.name == name)


def plan_visa_ac(samples: Sequence[Sample], corrections: Mapping[str, str], release: Counts) -> list[Placement]:
    """Places the images of VisA by the class map of VisA-AC, then by the corrections; categories may be absent.

    An image keeps its stem, which is unique among VisA's anomalous images and among its normal ones.

    Raises:
        UserError: If an image of the map is missing, a correction fits no image, or a class is not the release's.
    """
    table = visa_ac_classes()
    present = {sample.category for sample in samples}
    held = {(sample.category, sample.is_normal, sample.image.stem) for sample in samples}
    for category, normal, stem in sorted(table.keys() - held):
        if category in present:
            kind = "normal" if normal else "anomalous"
            raise UserError(f"VisA's {kind} image {stem} of {category} is missing. Download the category again.")
    classes = {
        _path(sample): table.get((sample.category, sample.is_normal, sample.image.stem))
        if sample.split == "test"
        else NORMAL
        for sample in samples
    }
    return _place(samples, classes, corrections, release, lambda sample, name: sample.is_normal == (name == NORMAL))


def _path(sample: Sample) -> str:
    """Path of the image below the raw dataset's root."""
    return sample.id.split("/", 1)[1]


def _place(
    samples: Sequence[Sample],
    classes: Mapping[str, str | None],
    corrections: Mapping[str, str],
    release: Counts,
    keeps_stem: Callable[[Sample, str], bool],
) -> list[Placement]:
    if unknown := sorted(corrections.keys() - classes.keys()):
        raise UserError(f"A correction fits no image: {unknown[0]} ({len(unknown)} in all). Correct the path.")
    placed = []
    for sample in samples:
        path = _path(sample)
        name = corrections.get(path, classes[path])
        if name is None or name == DROP:
            continue
        if name not in release.get(sample.category, {}):
            known = ", ".join(release.get(sample.category, {})) or "none: the release lacks the category"
            raise UserError(f"Unknown class '{name}' of {path}. Known: {known}. Correct the file or its place.")
        if sample.is_normal and name != NORMAL:
            raise UserError(f"A normal image has no mask: {path} cannot become '{name}'. Correct it to `drop`.")
        stem = sample.image.stem if keeps_stem(sample, name) else f"{sample.image.parent.name}_{sample.image.stem}"
        placed.append(Placement(sample=sample, name=name, stem=stem))
    return placed
