"""Writes EDDM's descriptions of a dataset or a folder: in batches, resumable."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.ddqa.compose import FREE_PROMPT
from data.ddqa.tasks import QUESTIONS
from data.errors import UserError
from data.files import hash_file, hash_value
from data.readers.listing import list_images
from data.run import open_run
from data.source import DataConfig, Source, load_samples
from data.training.descriptions import DescriptionLog, DescriptionRow, description_key
from models.eddm.eddm import EDDM, DescribeMode, load_eddm

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DescribeConfig:
    """What to describe, and how.

    Attributes:
        preset: Name of the preset; it decides which data are read.
        run: Run directory with a trained EDDM; writes `descriptions/<name>.jsonl`.
        data: Training and zero-shot sources.
        part: `train` or `zero_shot`, of `data`.
        sources: Other sources, instead of `data`.
        folder: A folder of images, instead of `data`.
        mode: `free` or `structured`.
        name: Name of the log; empty takes `part`, or the folder's name.
        batch_size: Images between two writes.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    preset: str = ""
    run: str
    data: DataConfig
    part: str = "zero_shot"
    sources: list[Source] = field(default_factory=list)
    folder: str = ""
    mode: DescribeMode = DescribeMode.structured
    name: str = ""
    batch_size: int = 64
    trust_remote_code: bool = False


def describe(config: DescribeConfig) -> Path:
    """Describes every image that has no description by this very model yet; returns the log's path.

    Raises:
        UserError: If there is nothing to describe, no EDDM, or an image does not decode.
    """
    if config.sources and config.folder:
        raise UserError("Both sources and folder are set. Give one of them.")
    run = open_run(config.run)
    items = list_items(config)
    eddm = load_eddm(run, batch_size=config.batch_size, trust_remote_code=config.trust_remote_code)
    name = config.name or (Path(config.folder).name if config.folder else "custom" if config.sources else config.part)
    path = run.descriptions / f"{name}.jsonl"
    written = describe_items(eddm, items, config.mode, DescriptionLog(path), config.batch_size)
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
        raise UserError(f"No images in {folder}.")
    return [(image.relative_to(folder).as_posix(), image) for image in images]


def describe_items(
    eddm: EDDM, items: Sequence[tuple[str, Path]], mode: DescribeMode, done: DescriptionLog, batch_size: int
) -> int:
    """Describes what the log does not hold yet, and appends it batch by batch; returns how many that were.

    Args:
        eddm: The dialogue module.
        items: (id, image).
        mode: How to describe.
        done: The log.
        batch_size: Images between two writes.
    """
    prompt = FREE_PROMPT if mode is DescribeMode.free else hash_value([QUESTIONS, eddm.defects])
    keys = {
        item: description_key(
            model=eddm.model, adapter=eddm.adapter, mode=mode.value, prompt=prompt, image_hash=hash_file(image)
        )
        for item, image in items
    }
    waiting = [(item, image) for item, image in items if done.latest.get(item) != keys[item]]
    log.info("Descriptions: %d of %d images to describe (%s)", len(waiting), len(items), mode.value)
    spoken = time.monotonic()
    for start in range(0, len(waiting), batch_size):
        batch = waiting[start : start + batch_size]
        described = eddm.describe_fully([image for _, image in batch], mode)
        done.append(
            DescriptionRow(
                key=keys[item],
                id=item,
                image=str(image),
                mode=mode.value,
                description=description.text,
                answers=description.answers,
                model=eddm.model,
                adapter=eddm.adapter,
            )
            for (item, image), description in zip(batch, described, strict=True)
        )
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("Descriptions: %d of %d", start + len(batch), len(waiting))
    return len(waiting)
