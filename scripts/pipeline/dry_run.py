"""`dry_run=true`: what each stage of a run needs, what of it is there, and how to get the rest. Nothing is run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from data.image_size import read_size
from data.readers.downloads import how_to_get
from data.sample import Sample
from data.source import DataConfig, Source, load_samples
from models.weights.diagnosis import Found, examine_weights
from models.weights.table import TrainedPart
from scripts.command import compose_config
from scripts.pipeline.stages import Stage
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.config import PlanConfig
from train.plan.options import recommend
from train.plan.plan import plan_parts
from train.plan.weights import wanted_weights

GIB = 2**30
MAP_BYTES = 4  # of a pixel of an anomaly map on disk
STATE_BYTES = 12  # of a trained parameter in a checkpoint: itself and AdamW's two moments
MODULE = {  # whose weights a command loads
    "scripts.train_eddm": TrainedPart.eddm,
    "scripts.describe": TrainedPart.eddm,
    "scripts.eval_eddm": TrainedPart.eddm,
    "scripts.train_mdlm": TrainedPart.mdlm,
    "scripts.eval_segmentation": TrainedPart.mdlm,
}


@dataclass(frozen=True, slots=True)
class Need:
    """One dataset or checkpoint.

    Attributes:
        name: What it is.
        missing: What is wrong with it and how to get it; empty when it is there.
        reader: Of a dataset.
    """

    name: str
    missing: tuple[str, ...] = ()
    reader: str = ""


@dataclass(slots=True)
class StageNeeds:
    """What one stage needs.

    Attributes:
        stage: The stage.
        datasets: What it reads.
        weights: The checkpoints that it loads.
        gpu_hours: Predicted; None where nothing is trained.
        disk: Bytes that it writes and keeps, as far as they are known.
    """

    stage: Stage
    datasets: list[Need] = field(default_factory=list)
    weights: list[Need] = field(default_factory=list)
    gpu_hours: float | None = None
    disk: float = 0.0


def report_needs(stages: Sequence[Stage], data: DataConfig, run_dir: Path, preset: str) -> bool:
    """Prints the stages in their order with what each needs; returns whether all of it is there.

    Args:
        stages: Of the run.
        data: Its sources.
        run_dir: Where it would write.
        preset: Its preset; the tiny one makes its own checkpoints.
    """
    made_here = any(stage.arguments[0] == "scripts.make_synthetic" for stage in stages)
    listed = {} if made_here else {part: list_datasets(data.part(part)) for part in ("train", "zero_shot")}
    asked = {source.reader for source in data.asked("train")}
    needs = [StageNeeds(stage) for stage in stages]
    for entry in needs:
        parts = [part for part in read_parts(entry.stage) if part in listed]
        entry.datasets = [need for part in parts for need in listed[part][0]]
        if entry.stage.name == "ddqa":
            entry.datasets = [need for need in entry.datasets if need.reader in asked]
        if entry.stage.arguments[0] == "scripts.eval_segmentation" and listed:
            entry.disk = map_bytes(listed["zero_shot"][1])
    if preset != "tiny":
        _add_models(needs, preset)
    free = shutil.disk_usage(next(folder for folder in [run_dir, *run_dir.absolute().parents] if folder.is_dir())).free
    missing = _print(needs, run_dir, free)
    return not missing


def read_parts(stage: Stage) -> list[str]:
    """Which sides of the data a stage reads: `train`, `zero_shot`."""
    command = stage.arguments[0]
    if command == "scripts.train_mdlm":
        return ["train", "zero_shot"]  # the latter to see that they share nothing
    if command in ("scripts.build_ddqa", "scripts.describe"):
        return [word.removeprefix("part=") for word in stage.arguments if word.startswith("part=")]
    return ["zero_shot"] if command in ("scripts.eval_eddm", "scripts.eval_segmentation") else []


def list_datasets(sources: Sequence[Source]) -> tuple[list[Need], list[Sample]]:
    """Each source as a need, and the samples of those that are there; decodes no image."""
    needs, samples = [], []
    for source in sources:
        if not Path(source.root).is_dir():
            how = how_to_get(source.reader, source.root)
            needs.append(Need(source.reader, (f"{source.reader}: no folder {source.root}. {how}.",), source.reader))
            continue
        try:
            found = load_samples([source]).samples
        except UserError as error:
            needs.append(Need(source.reader, (f"{source.reader}: {error}",), source.reader))
            continue
        needs.append(Need(f"{source.reader} ({len(found):,} images)", reader=source.reader))
        samples += found
    return needs, samples


def map_bytes(samples: Sequence[Sample]) -> float:
    """Size of the anomaly maps of images, each category taken to be of one size."""
    size_of: dict[tuple[str, str], int] = {}
    for sample in samples:
        key = sample.dataset, sample.category
        if key not in size_of:
            height, width = read_size(sample.image)
            size_of[key] = height * width * MAP_BYTES
    return float(sum(size_of[sample.dataset, sample.category] for sample in samples))


def _add_models(needs: Sequence[StageNeeds], preset: str) -> None:
    """Weights, hours and checkpoints, from the trainings' own configurations."""
    words = {entry.stage.arguments[0]: entry.stage.arguments[1:] for entry in needs}
    eddm = compose_config("train_eddm", EDDMConfig, words["scripts.train_eddm"])
    mdlm = compose_config("train_mdlm", TrainMDLMConfig, words["scripts.train_mdlm"])
    found = examine_weights(preset, wanted_weights(eddm, mdlm), hashes=False).found
    planning = compose_config("plan", PlanConfig, [f"preset={preset}", "gpus=1"])
    parts = dict(zip((TrainedPart.eddm, TrainedPart.mdlm), plan_parts(planning, eddm, mdlm), strict=True))
    kept = {TrainedPart.eddm: eddm.optim.keep, TrainedPart.mdlm: mdlm.loop.keep_last}
    for entry in needs:
        command = entry.stage.arguments[0]
        module = MODULE.get(command)
        if module is None:
            continue
        entry.weights = [_weights_need(item) for item in found if item.wanted.part is module]
        if command in ("scripts.train_eddm", "scripts.train_mdlm"):
            part = parts[module]
            option = recommend(part.options, part.blueprint.configured_tiles)
            entry.gpu_hours = part.steps * option.step_seconds / 3600 if option else float("inf")
            entry.disk = STATE_BYTES * part.blueprint.trainable * (kept[module] + 1)


def _weights_need(found: Found) -> Need:
    problems = [entry for entry in found.problems if entry.severity.value == "error"]
    return Need(found.title, tuple(f"{found.title}: {entry.message} {entry.fix}" for entry in problems))


def _print(needs: Sequence[StageNeeds], run_dir: Path, free: float) -> list[str]:
    """Writes the list to stdout; returns what is missing, each thing once."""
    missing: list[str] = []
    for number, entry in enumerate(needs, 1):
        after = f"  (after {', '.join(entry.stage.needs)})" if entry.stage.needs else ""
        print(f"{number:2}. {entry.stage.name}{after}\n      python -m {' '.join(entry.stage.arguments)}")
        for title, things in (("datasets", entry.datasets), ("weights", entry.weights)):
            if things:
                shown = ", ".join(f"{need.name}: MISSING" if need.missing else need.name for need in things)
                print(f"      {title}: {shown}")
                missing += [text for need in things for text in need.missing]
        if entry.gpu_hours is not None:
            print(f"      GPU: {entry.gpu_hours:.1f} hours on one; scripts.plan says what several take")
        if entry.disk:
            print(f"      disk: {entry.disk / GIB:.1f} GiB")
    disk, hours = sum(entry.disk for entry in needs), sum(entry.gpu_hours or 0 for entry in needs)
    print(f"\nTrainings: {hours:.1f} GPU-hours (describing and evaluating not counted).")
    print(f"Disk: {disk / GIB:.1f} GiB for checkpoints and anomaly maps of what is there, {free / GIB:.1f} GiB free.")
    if disk > free:
        missing.append(f"Disk: {(disk - free) / GIB:.1f} GiB more at {run_dir}, or another run_dir=.")
    missing = list(dict.fromkeys(missing))
    print("\nMissing:" if missing else "\nNothing is missing.")
    for text in missing:
        print(f"  - {text}")
    return missing
