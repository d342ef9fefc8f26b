"""Writes EDDM's descriptions of a dataset or a folder: in batches, resumable, by one process or by many.

Under `torchrun` every rank has a replica of the model and a log of its own (`data.row_log`); at the end one is left,
with its rows in the order in which one process writes them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from data.content import hash_files
from data.errors import UserError
from data.image_size import read_size
from data.processes.lock import held
from data.ranks import Ranks, join_ranks
from data.readers.listing import list_images
from data.row_log import own_log, take_in
from data.run import open_run
from data.source import DataConfig, Source, load_samples
from data.training.descriptions import DescribeMode, DescriptionLog, DescriptionRow, Manner, Naming, description_key
from models.chat.config import GREEDY
from models.device import DeviceConfig
from models.eddm.eddm import EDDM, load_eddm

log = logging.getLogger(__name__)
ALONE = Ranks()


class Only(StrEnum):
    """Which images of the part: all, or those that the MDLM's training will draw."""

    all = "all"
    drawn = "drawn"


@dataclass(kw_only=True, slots=True)
class DescribeConfig(DeviceConfig):
    """What to describe, and how; where as `DeviceConfig` says.

    Attributes:
        preset: Name of the preset; it decides data, mode and length.
        run: Run directory with a trained EDDM; writes `descriptions/<name>.jsonl`.
        data: Training and zero-shot sources.
        part: `train` or `zero_shot`, of `data`.
        only: `drawn` describes of `part=train` just what `scripts.train_mdlm` draws.
        mdlm: Overrides of that training, which decide what it draws: `mdlm.seed=1`, `mdlm.loop.steps=300`.
        sources: Other sources, instead of `data`.
        folder: A folder of images, instead of `data`.
        mode: `free` or `structured`.
        length: Most tokens of a free description.
        naming: How a structured one finds the region and the type of the defect.
        name: Name of the log; empty takes `part`, or the folder's name.
        batch_size: Images between two writes.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    preset: str = ""
    run: str
    data: DataConfig
    part: str = "zero_shot"
    only: Only = Only.all
    mdlm: dict[str, Any] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    folder: str = ""
    mode: DescribeMode = DescribeMode.structured
    length: int = 48
    naming: Naming = Naming.rounds
    name: str = ""
    batch_size: int = 64
    trust_remote_code: bool = False


class Item(NamedTuple):
    """One image to describe: its id, its path, its hash, and the key of the description that is wanted."""

    id: str
    image: Path
    image_hash: str
    key: str


def describe(config: DescribeConfig, wanted: Collection[str] | None = None) -> Path:
    """Describes every image that has no description by this very model yet; returns the log's path.

    Args:
        config: What to describe, and how.
        wanted: Ids of the images of the part to describe; None takes all.

    Raises:
        UserError: If there is nothing to describe, no EDDM, another process describes the same, or an image does not
            decode.
    """
    if config.sources and config.folder:
        raise UserError("Both sources and folder are set. Give one of them.")
    if config.length < 1:
        raise UserError(f"length={config.length}: a description needs at least one token.")
    ranks, run = join_ranks(), open_run(config.run, writes=True)
    items = ranks.once(lambda: list_items(config))
    if wanted is not None:
        items = [(name, image) for name, image in items if name in wanted]
    name = config.name or (Path(config.folder).name if config.folder else "custom" if config.sources else config.part)
    path = run.descriptions / f"{name}.jsonl"
    with held(path, by=ranks.once):
        eddm = load_eddm(run, batch_size=config.batch_size, trust_remote_code=config.trust_remote_code, where=config)
        manner = Manner(config.mode, config.length, config.naming)
        written = describe_items(eddm, items, manner, path, config.batch_size, ranks)
    if ranks.is_main:
        log.info("Descriptions: %d new, %d in all, in %s", written, len(items), path)
    return path


def list_items(config: DescribeConfig) -> list[tuple[str, Path]]:
    """(id, image) of everything to describe."""
    if not config.folder:
        sources = config.sources or config.data.part(config.part)
        return [(sample.id, sample.image) for sample in load_samples(sources).samples]
    folder = Path(config.folder)
    if not folder.is_dir():
        raise UserError(f"No folder at {folder}. Give the path of a folder with images.")
    images = list_images(folder)
    if not images:
        raise UserError(f"No images in {folder}. Give the folder that holds the pictures themselves.")
    return [(image.relative_to(folder).as_posix(), image) for image in images]


def describe_items(
    eddm: EDDM,
    items: Sequence[tuple[str, Path]],
    manner: Manner,
    path: Path,
    batch_size: int,
    ranks: Ranks = ALONE,
) -> int:
    """Describes what the log does not hold yet, and appends it batch by batch; returns how many that were.

    Args:
        eddm: The dialogue module.
        items: (id, image), the same on all ranks.
        manner: How to describe.
        path: The log.
        batch_size: Images between two writes.
        ranks: The processes that share the images.
    """
    waiting = ranks.once(lambda: _list_waiting(eddm, items, manner, path))
    if ranks.is_main:
        log.info("Descriptions: %d of %d images to describe (%s)", len(waiting), len(items), manner.mode.value)
    _describe(eddm, ranks.share(waiting), manner, DescriptionLog(own_log(path, ranks)), batch_size)
    ranks.wait()
    ranks.once(lambda: take_in(path, [item.key for item in waiting]))
    return len(waiting)


def _list_waiting(eddm: EDDM, items: Sequence[tuple[str, Path]], manner: Manner, path: Path) -> list[Item]:
    """What is left to describe, images of one size together: they are padded to the largest of their batch."""
    take_in(path)
    done, hashes = DescriptionLog(path).latest, hash_files(image for _, image in items)
    waiting = []
    for name, image in items:
        digest = hashes[image]
        key = description_key(
            model=eddm.model,
            adapter=eddm.adapter,
            manner=manner,
            names=eddm.defects,
            image_hash=digest,
            decoding=GREEDY,
        )
        if done.get(name) != key:
            waiting.append(Item(name, image, digest, key))
    return sorted(waiting, key=lambda item: read_size(item.image))


def _describe(eddm: EDDM, items: Sequence[Item], manner: Manner, done: DescriptionLog, batch_size: int) -> None:
    facts = manner.facts()
    spoken = time.monotonic()
    for start in range(0, len(items), batch_size):
        batch, following = (items[at : at + batch_size] for at in (start, start + batch_size))
        eddm.expect([item.image for item in following])
        described = eddm.describe_fully([item.image for item in batch], manner)
        done.append(
            DescriptionRow(
                key=item.key,
                id=item.id,
                image=str(item.image),
                image_hash=item.image_hash,
                mode=facts["mode"],
                instruction=facts["instruction"],
                length=facts["length"],
                naming=facts["naming"],
                description=description.text,
                answers=description.answers,
                model=eddm.model,
                adapter=eddm.adapter,
            )
            for item, description in zip(batch, described, strict=True)
        )
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("Descriptions: %d of %d", start + len(batch), len(items))
