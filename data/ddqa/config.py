"""What DDQA is built from, how its questions are asked, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.ddqa.tasks import RegionRule
from data.ddqa.wording import PAPER_TASKS, Task, Wording
from data.errors import UserError
from data.plugins.trust import short_name
from data.run import Run
from data.source import DataConfig, Source
from data.splits import check_unseen


class BoxFormat(StrEnum):
    """How DFM's answer is written.

    paper: as text, xyxy in 0–1 with three decimals: `[0.415, 0.737, 0.473, 0.800]`.
    swift: as ms-swift's grounding rows: `<bbox>` in the text and the pixel box under `objects`, from which
        ms-swift's template of each model writes the coordinates that the model was trained with.
    """

    paper = "paper"
    swift = "swift"


class AnswerOrder(StrEnum):
    """Order of AD's two options.

    paper: always "A. No. B. Yes.", so its letters are as unbalanced as the images.
    balanced: each letter is right equally often; half of the questions have the options swapped.
    """

    paper = "paper"
    balanced = "balanced"


class OnError(StrEnum):
    """What a broken image, mask or annotation does: end the build before anything is written, or be left out."""

    stop = "stop"
    skip = "skip"


@dataclass(kw_only=True, slots=True)
class DDQAConfig:
    """What to build.

    There are two ways to call it. With `sources` it writes the published form into `out`: `train.jsonl`, one
    `Task_<task>.jsonl` per task, `stats.json`. With `run_dir` it writes the questions of a run, from `data`.

    Attributes:
        preset: Name of the preset; it decides which data are read.
        sources: Readers whose datasets are built from, e.g. `[bsdata, real_iad]`.
        data_root: Holds one folder per source, named like its reader.
        paths: Folder of single sources, instead of `data_root/<source>`; one of your own goes by its module's name.
        settings: Further settings of single sources, as in `data.source.Source`: `settings.real_iad.splits=[train]`,
            `settings.real_iad.options.resolution=1024`.
        out: Folder to write to.
        run_dir: Run directory; writes `ddqa/<part>.jsonl` and `ddqa/counts.json`.
        data: Training and zero-shot sources of a run.
        part: `train` builds from `data.train`, `zero_shot` from `data.zero_shot` (the exam).
        tasks: Tasks to write, in the order of their rows within an image; the paper has no `description`.
        wording: The paper's sentences alone, or paraphrases too.
        box_format: How DFM's answer is written.
        ad_options: Order of AD's options.
        region_rule: Which region RDL calls right when defects touch several.
        foreign_distractors: How many of DC's three wrong options come from the shipped vocabulary even when the
            category has enough names of its own. The paper only says that foreign names are drawn as well.
        holdout: Share of the images of each source that is held out, in 0..1; all images of one physical object
            stay together. Statistics count both sides.
        on_error: What a broken file does.
        decode_images: Decode every image as well, not only its header and its end: finds damage in the middle of a
            file, at several times the cost.
        workers: Processes; the result does not depend on it.
        seed: Seed of distractors, letter positions, paraphrases and the held-out split.
    """

    preset: str = ""
    sources: list[str] = field(default_factory=list)
    data_root: str = ""
    paths: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    out: str = ""
    run_dir: str = ""
    data: DataConfig = field(default_factory=lambda: DataConfig(train=[], zero_shot=[]))
    part: str = "train"
    tasks: list[Task] = field(default_factory=lambda: list(PAPER_TASKS))
    wording: Wording = Wording.paper
    box_format: BoxFormat = BoxFormat.paper
    ad_options: AnswerOrder = AnswerOrder.paper
    region_rule: RegionRule = RegionRule.largest_centroid
    foreign_distractors: int = 1
    holdout: float = 0.0
    on_error: OnError = OnError.stop
    decode_images: bool = False
    workers: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of one build go.

    Attributes:
        folder: Their folder.
        part: Name of the training rows' file, without suffix.
        published: Whether the files per task, per image and the statistics are written too.
    """

    folder: Path
    part: str
    published: bool

    @property
    def rows(self) -> Path:
        """All training rows."""
        return self.folder / f"{self.part}.jsonl"

    @property
    def held_out(self) -> Path:
        """The rows of the held-out split."""
        return self.folder / ("held_out.jsonl" if self.published else f"{self.part}_held_out.jsonl")

    @property
    def samples(self) -> Path:
        """One row per image: what the statistics are made of."""
        return self.folder / "samples.jsonl"

    @property
    def skipped(self) -> Path:
        """What was left out, with reasons."""
        return self.folder / "skipped.json"

    @property
    def stats(self) -> Path:
        """Questions by source and task."""
        return self.folder / "stats.json"

    @property
    def counts(self) -> Path:
        """Questions of each part of a run by task and source."""
        return self.folder / "counts.json"

    def task(self, task: Task) -> Path:
        """The training rows of one task."""
        return self.folder / f"Task_{task.value}.jsonl"


def resolve(config: DDQAConfig) -> tuple[list[Source], Layout]:
    """Checks a configuration and says what is read and where it goes.

    Raises:
        UserError: If the two ways to call it are mixed, or a value is missing or out of range.
    """
    if not 0 <= config.holdout < 1:
        raise UserError(f"holdout={config.holdout} is not a share: give 0 (none) or more, below 1.")
    if not config.tasks:
        raise UserError(f"tasks=[] asks nothing. Give some of {[task.value for task in Task]}.")
    if config.foreign_distractors not in range(4):
        raise UserError(f"foreign_distractors={config.foreign_distractors}: DC has three wrong options; give 0 to 3.")
    if config.sources:
        if config.run_dir:
            raise UserError("Give either sources= with out=, or run_dir= with data=, not both.")
        if not config.out:
            raise UserError("sources= needs out=, the folder to write to.")
        return _named_sources(config), Layout(Path(config.out), "train", published=True)
    if not config.run_dir:
        raise UserError("Give run_dir= (with data=), or sources=[…] with data_root= and out=.")
    if config.part == "train":
        check_unseen([source.reader for source in config.data.train], config.data.unseen)
    return config.data.asked(config.part), Layout(Run(Path(config.run_dir)).ddqa, config.part, published=False)


def _named_sources(config: DDQAConfig) -> list[Source]:
    for key, given in (("paths", config.paths), ("settings", config.settings)):
        if unknown := sorted(set(given) - set(map(short_name, config.sources))):
            raise UserError(f"{key}.{unknown[0]}: '{unknown[0]}' is not in sources={config.sources}. Add it there.")
    return [_named_source(reader, short_name(reader), config) for reader in config.sources]


def _named_source(reader: str, name: str, config: DDQAConfig) -> Source:
    if name not in config.paths and not config.data_root:
        raise UserError(f"Where is '{name}'? Give data_root=, or paths.{name}=.")
    settings = config.settings.get(name) or {}
    known = {entry.name: entry.type for entry in fields(Source) if entry.name not in ("reader", "root")}
    for key, value in settings.items():
        if key not in known:
            raise UserError(f"settings.{name}.{key} is unknown. Known settings: {', '.join(sorted(known))}.")
        if str(known[key]).startswith("list") and not isinstance(value, list):
            raise UserError(f"settings.{name}.{key}={value} is not a list: write [{value}].")
        if str(known[key]).startswith("dict") and not isinstance(value, dict):
            raise UserError(f"settings.{name}.{key}={value} has no names: write settings.{name}.{key}.<name>=<value>.")
    return Source(reader=reader, root=config.paths.get(name) or str(Path(config.data_root) / name), **settings)
