"""Builds MVTec-AC or VisA-AC as a folder in MVTec AD's layout, and compares its counts with the release's."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tqdm import tqdm

from data.classes.refined.plan import Placement, plan_mvtec_ac, plan_visa_ac, read_corrections
from data.classes.refined.rules import NORMAL, count_differences, release_counts
from data.errors import UserError, writing
from data.files import make_dir, write_csv, write_json
from data.masks import MaskFile
from data.processes.lock import held
from data.source import Source, load_samples

log = logging.getLogger(__name__)


class Refined(StrEnum):
    """Which dataset to build."""

    mvtec_ac = "mvtec_ac"
    visa_ac = "visa_ac"


class Transfer(StrEnum):
    """How files get into the built folder; hard links take no space, but need the same file system."""

    copy = "copy"
    hardlink = "hardlink"


@dataclass(kw_only=True, slots=True)
class ACConfig:
    """What to build.

    Attributes:
        dataset: What to build.
        source: Root of raw MVTec AD (for `mvtec_ac`) or raw VisA (for `visa_ac`).
        out: Folder to write; must not exist.
        corrections: YAML or CSV file, image (relative to `source`) → class or `drop`; None applies the rules alone.
        transfer: Whether files are copied or hard-linked.
        train: Whether the training images are written too; the papers take them from the raw dataset unchanged.
    """

    dataset: Refined
    source: str
    out: str
    corrections: str | None = None
    transfer: Transfer = Transfer.copy
    train: bool = True


def build_ac(config: ACConfig) -> Counter[tuple[str, str]]:
    """Builds the folder and returns its test images per (category, class).

    Beside the categories lie `sources.csv` (each file and where it comes from) and `counts.json` (the counts, the
    release's, and the corrections). The folder appears whole or not at all.

    Raises:
        UserError: If the source or a correction is unusable, `out` exists or is being written, or a link crosses file
            systems.
    """
    with held(Path(config.out)):
        return _build(config, Path(config.out))


def _build(config: ACConfig, out: Path) -> Counter[tuple[str, str]]:
    if out.exists():
        raise UserError(f"{out} exists already. Delete it, or choose another out=.")
    reader = "mvtec_ad" if config.dataset is Refined.mvtec_ac else "visa"
    splits = [] if config.train else ["test"]
    samples = load_samples([Source(reader=reader, root=config.source, splits=splits)]).samples
    corrections = read_corrections(Path(config.corrections)) if config.corrections else {}
    release = release_counts(config.dataset)
    plan = plan_mvtec_ac if config.dataset is Refined.mvtec_ac else plan_visa_ac
    placements = plan(samples, corrections, release)
    built = Counter((p.sample.category, p.name) for p in placements if p.sample.split == "test")
    rows = count_differences(built, release)
    make_dir(out.parent)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed
    try:
        _write(placements, partial, Path(config.source), config.transfer)
        counts = [dict(zip(("category", "class", "built", "release"), row, strict=True)) for row in rows]
        write_json(partial / "counts.json", {"counts": counts, "corrections": corrections})
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("%s", format_counts(rows))
    return built


def _write(placements: Sequence[Placement], root: Path, source: Path, transfer: Transfer) -> None:
    pairs = []
    for placement in placements:
        pairs.append((placement.sample.image, placement.image))
        if placement.mask is not None and isinstance(placement.sample.mask, MaskFile):
            pairs.append((placement.sample.mask.path, placement.mask))
    assert len({target for _, target in pairs}) == len(pairs)
    for path, target in tqdm(pairs, desc="files", unit="file"):
        make_dir((root / target).parent)
        _transfer(path, root / target, transfer)
    sources = ((target.as_posix(), path.relative_to(source).as_posix()) for path, target in pairs)
    write_csv(root / "sources.csv", ("file", "source"), sources)


def _transfer(path: Path, target: Path, transfer: Transfer) -> None:
    if transfer is Transfer.copy:
        with writing(target):
            shutil.copyfile(path, target)
        return
    try:
        os.link(path.resolve(), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
            raise
        raise UserError(f"Cannot hard-link {path} to {target}: {error.strerror}. Use transfer=copy.") from error


def format_counts(rows: Sequence[tuple[str, str, int, int]]) -> str:
    """A table of the counts beside the release's; a difference is marked at the end of its line.

    Args:
        rows: (category, class, built, release).
    """
    width = max(len(name) for _, name, _, _ in rows)
    lines = [f"{'category':<12}{'class':<{width}}{'built':>7}{'release':>9}"]
    for category, name, built, release in rows:
        mark = f"{built - release:+7d}" if built != release else ""
        lines.append(f"{category:<12}{name:<{width}}{built:>7}{release:>9}{mark}")
    for title, normal in (("anomalous", False), ("normal", True)):
        kept = [(built, release) for _, name, built, release in rows if (name == NORMAL) == normal]
        built, release = sum(count for count, _ in kept), sum(count for _, count in kept)
        mark = f"{built - release:+7d}" if built != release else ""
        lines.append(f"{title:<{12 + width}}{built:>7}{release:>9}{mark}")
    differing = sum(built != release for _, _, built, release in rows)
    return "\n".join([*lines, f"{differing} of {len(rows)} classes differ from the release."])
