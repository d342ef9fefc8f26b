"""Builds DDQA: from samples to ms-swift JSONL rows, deterministically."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from data.ddqa.ask import Answered, Asker, Assignment
from data.ddqa.assign import assign
from data.ddqa.config import DDQAConfig, Layout, resolve
from data.ddqa.listing import list_sources
from data.ddqa.wording import Task
from data.errors import UserError
from data.files import atomic_open, read_json, write_json
from data.parallel import map_chunks
from data.processes.lock import held
from data.sample import Sample
from data.source import Source

log = logging.getLogger(__name__)
ODD = (
    "%d %s (first: %s): turned by an orientation tag, or of more than 8 bits. Other programs, ms-swift's own command "
    "line among them, do not see them as these rows do. Train by scripts.train_eddm, or save upright 8-bit copies."
)
Counts = Counter[tuple[str, str]]  # (task, dataset) → questions
Skipped = tuple[str, str]  # (id of the sample, or name of the file or source; reason)


def build_ddqa(config: DDQAConfig) -> dict[str, dict[str, int]]:
    """Builds DDQA and returns its counts, task → dataset → questions, held-out ones included.

    Rules (they give the paper's BSData column exactly): AD asks once an image, but not in a source without
    normal images; RDL and DC once an anomalous image; DFM only where exactly one defect region is annotated.
    All files of a build appear together when it is complete; broken input leaves none.

    Raises:
        UserError: If a source is unusable or another process builds in the same folder; with `on_error=stop` also if
            an image, a mask or an annotation is broken.
    """
    sources, layout = resolve(config)
    with held(layout.folder):
        return _build(config, sources, layout)


def _build(config: DDQAConfig, sources: Sequence[Source], layout: Layout) -> dict[str, dict[str, int]]:
    listing = list_sources(sources, config.on_error)
    samples = listing.samples
    datasets = sorted({sample.dataset for sample in samples})
    assignments = assign(samples, holdout=config.holdout, seed=config.seed)
    asker = Asker(config, _names(samples), {sample.dataset for sample in samples if sample.is_normal})
    counts, broken = _write(layout, config, asker, assignments)
    table = {task.value: {name: counts[task.value, name] for name in datasets} for task in config.tasks}
    skipped = [*listing.skipped, *broken]
    if layout.published:
        _remove_stale(layout, config, skipped)
        _save_stats(layout, table, sorted({*datasets, *config.sources}), skipped)
    else:
        _save_counts(layout, table, len(samples) - len(broken), skipped)
    for item, reason in skipped:
        log.info("Skipped: %s (%s)", item, reason)
    for task, by_dataset in table.items():
        log.info("%-3s %s", task, "  ".join(f"{name} {count}" for name, count in by_dataset.items()))
    return table


def _names(samples: Sequence[Sample]) -> dict[tuple[str, str], list[str]]:
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        if sample.defect is not None:
            names[sample.dataset, sample.category].add(sample.defect)
    return {key: sorted(found) for key, found in names.items()}


def _write(
    layout: Layout, config: DDQAConfig, asker: Asker, assignments: Sequence[Assignment]
) -> tuple[Counts, list[Skipped]]:
    counts: Counts = Counter()
    broken: list[Skipped] = []
    with ExitStack() as stack:
        files = _Files(stack, layout, config)
        odd: list[Path] = []
        for answered in _answers(config, asker, assignments):
            if answered.problem is not None:
                broken.append((answered.assignment.sample.id, answered.problem))
                continue
            files.write(answered)
            odd += [answered.assignment.sample.image] if answered.is_turned_or_deep else []
            counts.update((task.value, answered.assignment.sample.dataset) for task, _ in answered.rows)
        if not counts:
            first = f" First problem: {broken[0][1]}" if broken else ""
            tasks = ", ".join(task.value for task in config.tasks)
            raise UserError(f"No question could be built from {len(assignments)} samples for the tasks {tasks}.{first}")
        if layout.published:
            layout.stats.unlink(missing_ok=True)  # killed from here on, its files may be of two builds
    if odd:
        log.warning(ODD, len(odd), "image" if len(odd) == 1 else "images", odd[0])
    return counts, broken


def _answers(config: DDQAConfig, asker: Asker, assignments: Sequence[Assignment]) -> Iterator[Answered]:
    answers = map_chunks(asker, assignments, workers=config.workers)
    name = "DDQA" if config.sources else f"DDQA {config.part}"
    return iter(tqdm(answers, total=len(assignments), desc=name, unit="image", mininterval=0.5))


class _Files:
    """The line files of a build, which appear together when the stack is left without an error."""

    def __init__(self, stack: ExitStack, layout: Layout, config: DDQAConfig) -> None:
        def open_file(path: Path) -> TextIO:
            return stack.enter_context(atomic_open(path))

        self._rows = open_file(layout.rows)
        self._held_out = open_file(layout.held_out) if config.holdout else None
        self._tasks = {task: open_file(layout.task(task)) for task in config.tasks} if layout.published else {}
        self._facts = open_file(layout.samples) if layout.published else None

    def write(self, answered: Answered) -> None:
        held_out = answered.assignment.held_out
        for task, line in answered.rows:
            if held_out and self._held_out is not None:
                self._held_out.write(line + "\n")
                continue
            self._rows.write(line + "\n")
            if task in self._tasks:
                self._tasks[task].write(line + "\n")
        if self._facts is not None:
            self._facts.write(answered.facts + "\n")


def _save_stats(layout: Layout, table: dict[str, dict[str, int]], datasets: list[str], skipped: list[Skipped]) -> None:
    """`stats.json`: source → task → questions, and `skipped` where anything was; the list itself is `skipped.json`."""
    stats = {name: {task: by_dataset.get(name, 0) for task, by_dataset in table.items()} for name in datasets}
    for name in datasets:
        count = sum(item.startswith(f"{name}/") for item, _ in skipped)
        if count:
            stats[name]["skipped"] = count
    if skipped:
        write_json(layout.skipped, [{"item": item, "reason": reason} for item, reason in skipped])
    write_json(layout.stats, stats)


def _remove_stale(layout: Layout, config: DDQAConfig, skipped: list[Skipped]) -> None:
    """Removes what an earlier build with other settings left in the folder, so that its files always agree."""
    stale = [layout.task(task) for task in Task if task not in config.tasks]
    stale += [layout.held_out] if not config.holdout else []
    stale += [layout.skipped] if not skipped else []
    for path in stale:
        path.unlink(missing_ok=True)


def _save_counts(layout: Layout, table: dict[str, dict[str, int]], images: int, skipped: list[Skipped]) -> None:
    counts = read_json(layout.counts) if layout.counts.exists() else {}
    counts[layout.part] = {"images": images, "tasks": table, "skipped": skipped}
    write_json(layout.counts, counts)
