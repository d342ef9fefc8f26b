"""The one way from anomaly maps to figures, whoever makes the maps: a model, files of another method, or an expert.

Maps are made or read image by image, shared out over the ranks and logged as they come, so that a cut-off run goes on;
then they are brought to the resolution of the evaluation, scored per category, and reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.content import hash_samples
from data.errors import UserError
from data.files import hash_value, write_json
from data.image_size import read_size
from data.parallel import map_threads
from data.processes.lock import held
from data.ranks import Ranks
from data.sample import ImageArray, MaskArray, Sample, load_image, load_mask
from eval.conventions.named import ImageScore
from eval.gains.tally_file import TALLIES
from eval.metrics.pixels import Engine
from eval.metrics.scores import MapArray, ScoredImage, map_range
from eval.segmentation.averaging import average_looks, list_looks, mirror_text
from eval.segmentation.category_scores import ScoreSettings, score_categories
from eval.segmentation.config import ScoringConfig, config_facts
from eval.segmentation.image_score import image_score
from eval.segmentation.map_store import MapRow, MapStore
from eval.segmentation.report import write_segmentation_report
from eval.segmentation.resolution import RULE, Resolution, vanished_masks
from models.experts.frame import bounding_box
from models.predictor import Predicted

log = logging.getLogger(__name__)
NAMED = 5  # maps that an error message names


@dataclass(frozen=True, slots=True)
class Eye:
    """Who looks at images: a model or an expert.

    Attributes:
        look: One map and score a view, at the view's size, from samples, views that are ready, and texts.
        ready: What a thread makes of an image beforehand; by default `look` takes images, (H, W, 3).
    """

    look: Callable[[Sequence[Sample], Sequence[Any], Sequence[str]], Sequence[Predicted]]
    ready: Callable[[ImageArray], Any] = lambda image: image


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is evaluated, and where the results go.

    Attributes:
        name: Name of the result.
        samples: What is evaluated.
        keys: Sample id → hash of everything that its map depends on, but for how often an image is looked at.
        prompts: Sample id → what the model is told; empty for others.
        files: Sample id → map that is there already; empty where somebody looks.
        skipped: Left out by rule: (sample id, reason).
        left_out: Number of samples that a subset leaves out.
        facts: What the summary says about who made the maps.
        store: Folder of the maps, their log, `image_scores.json`: sample id → image score, and `tallies.safetensors`:
            what each image adds to the figures.
        summary: JSON file of the summary.
        report: Folder of `results.json` and of the report; None writes none.
    """

    name: str
    samples: Sequence[Sample]
    keys: Mapping[str, str]
    prompts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    skipped: Sequence[tuple[str, str]]
    left_out: int = 0
    facts: Mapping[str, Any]
    store: Path
    summary: Path
    report: Path | None


def evaluate(
    job: Job,
    config: ScoringConfig,
    ranks: Ranks,
    open_eye: Callable[[], Eye] | None = None,
    describe: Callable[[Mapping[str, MapRow]], dict[str, Any]] = lambda rows: {},
    inside: Callable[[tuple[int, int]], MaskArray | None] = lambda size: None,
) -> dict[str, Any]:
    """Evaluates maps and writes summary and report.

    Args:
        job: What and where; the same on all ranks.
        config: How.
        ranks: Who shares the work.
        open_eye: Loads who makes the maps; called only when some is missing. None where all are files.
        describe: Further facts for the summary, from the rows of all samples.
        inside: Region that is measured, True inside, by (height, width) of an image; None where all of it is.

    Returns:
        The summary, as written.

    Raises:
        UserError: If a map, mask or image is missing, does not decode, has a NaN or an unexpected size. What is wrong
            with maps is collected: the first few are named, the others are kept. Or if another process writes there.
    """
    with held(*{job.store, job.report or job.store}, by=ranks.once):
        return _evaluate(job, config, ranks, open_eye, describe, inside)


def _evaluate(
    job: Job,
    config: ScoringConfig,
    ranks: Ranks,
    open_eye: Callable[[], Eye] | None,
    describe: Callable[[Mapping[str, MapRow]], dict[str, Any]],
    inside: Callable[[tuple[int, int]], MaskArray | None],
) -> dict[str, Any]:
    started, started_cpu = time.perf_counter(), time.process_time()
    maps = _Maps(job, config, ranks, open_eye)
    made = maps.complete()
    found, found_cpu = time.perf_counter(), time.process_time()
    settings = ScoreSettings(
        engine=config.engine,
        aupro_limit=config.aupro_limit,
        iou_threshold=config.iou_threshold,
        extra=config.extra(),
        state=job.store / "counts",
        tallies=job.store / TALLIES if config.tally_bins else None,
        bins=config.tally_bins,
        workers=config.workers,
    )
    figures = score_categories(
        maps.samples, maps.scores, maps.count_keys(), lambda sample: maps.load_inside(sample, inside), settings, ranks
    )
    summary = {
        "name": job.name,
        **job.facts,
        **describe(maps.rows),
        "convention": config.shown_convention(),
        "resolution": config.shown_resolution(),
        "engine": config.engine.value,
        "image_score": maps.kind.value,
        **figures,
        "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in job.skipped],
        "vanished_masks": vanished_masks(maps.samples, maps.resolution, ranks),
        "resized_maps": maps.resized(),
        "left_out_by_subset": job.left_out,
        "seconds": {"model": found - started, "metrics": time.perf_counter() - found},
        "cpu_seconds": {"model": found_cpu - started_cpu, "metrics": time.process_time() - found_cpu},
        "new_maps": made,
        "config": config_facts(config),
    }
    if ranks.is_main:
        if not config.tally_bins:
            (job.store / TALLIES).unlink(missing_ok=True)  # of an earlier evaluation: they would go with its figures
        write_json(job.summary, summary)
        write_json(job.store / "image_scores.json", maps.scores)
        if job.report is not None:
            write_segmentation_report(job.report, summary, maps.samples, maps.scores, maps.load, maps.resolution.show)
    ranks.wait()
    return summary


def name_categories(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of several datasets with categories named `dataset/category`: each dataset has its own zippers."""
    if len({sample.dataset for sample in samples}) == 1:
        return list(samples)
    return [replace(sample, category=f"{sample.dataset}/{sample.category}") for sample in samples]


def list_some(names: Sequence[object]) -> str:
    """The first few of some names, and how many more there are."""
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(str(name) for name in names[:NAMED]) + more


@dataclass(frozen=True, slots=True)
class _Settled:
    """A map that is on disk, with the image score that was read off it, or what is wrong with the map."""

    row: MapRow
    score: float | None = None
    problem: str = ""


class _Maps:
    """The maps of a job, and the image scores that come from them.

    Attributes:
        samples: Whose maps.
        resolution: Where maps and masks meet.
        kind: How an image score comes from a map.
        rows: Sample id → its row, and `scores`: sample id → its image score; complete once `complete` has run.
    """

    def __init__(self, job: Job, config: ScoringConfig, ranks: Ranks, open_eye: Callable[[], Eye] | None) -> None:
        self._job, self._config, self._ranks, self._open_eye = job, config, ranks, open_eye
        self.samples = name_categories(job.samples)
        self.resolution = Resolution.by(config, config.resize_maps, looks=open_eye is not None)
        own = ImageScore.maximum if open_eye is None else ImageScore.model
        self.kind = own if config.image_score is ImageScore.auto else config.image_score
        looks = {"flip": config.flip, "scales": config.scales}
        seen = [*([looks] if config.averages else []), *self.resolution.seen]
        self._keys = {name: hash_value([key, *seen]) if seen else key for name, key in job.keys.items()}
        self._store = MapStore(job.store, ranks.rank)
        self._resume()

    def _resume(self) -> None:
        """Reads the rows and scores that hold, the same on all ranks."""
        self.rows = self._ranks.once(lambda: self._store.resume(self._keys))
        if self.kind is ImageScore.model:
            self.scores = {name: row.score for name, row in self.rows.items() if row.score is not None}
        else:
            known = self._ranks.once(self._store.scores)
            self.scores = {name: known[key] for name in self.rows if (key := self._score_key(name)) in known}

    def _score_key(self, name: str) -> str:
        fraction = self._config.score_fraction if self.kind is ImageScore.top_mean else None
        how = [self._config.shown_resolution(), self._config.resize_maps, RULE, self.kind.value, fraction]
        return hash_value([self._keys[name], *how, *self.resolution.map_facts])

    def complete(self) -> int:
        """Makes and checks the maps that are missing, and scores their images; returns how many were missing.

        Raises:
            UserError: Naming the maps that cannot be scored; the others are kept.
        """
        new = [sample for sample in self.samples if sample.id not in self.rows]
        unscored = [sample for sample in self.samples if sample.id in self.rows and sample.id not in self.scores]
        if self._ranks.is_main and self.rows:
            log.info("%d of %d anomaly maps are there from an earlier run.", len(self.rows), len(self.samples))
        if self._open_eye is not None:
            self._check_masks(new)
        mine = self._ranks.share([*new, *unscored])
        with self._store.writing():
            settled = map_threads(lambda one: self._settle(*one), self._find(mine), workers=self._config.workers)
            bar = tqdm(settled, "anomaly maps", len(mine), unit="image", disable=not mine)
            problems = [problem for one in bar if (problem := self._log(one))]
        if problems := [problem for part in self._ranks.gather(problems) for problem in part]:
            raise UserError(
                f"{len(problems)} of {len(self.samples)} anomaly maps cannot be scored: {list_some(problems)} "
                "The others are kept: correct these and run the same command again."
            )
        self._resume()
        return len(new)

    def _check_masks(self, samples: Sequence[Sample]) -> None:
        """Finds masks that could not be scored before the model has looked at their images for hours.

        Raises:
            UserError: Naming those that are missing, corrupt, of another size than their image, or empty.
        """

        def find_problem(sample: Sample) -> str:
            try:
                load_mask(sample, read_size(sample.image))
            except UserError as error:
                return str(error)
            return ""

        marked = [s for s in self._ranks.share(samples) if not s.is_normal and s.mask is not None]
        found = list(filter(None, map_threads(find_problem, marked, workers=self._config.workers)))
        if problems := [problem for part in self._ranks.gather(found) for problem in part]:
            raise UserError(f"{len(problems)} masks cannot be used: {list_some(problems)}")

    def _find(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, MapRow, MapArray | UserError]]:
        """Each sample with its row and its map, or with what is wrong with the map's file."""
        seen = [s for s in samples if s.id not in self.rows and s.id not in self._job.files]
        if seen:
            yield from self._look(seen)
        looked = {sample.id for sample in seen}
        rows = [(sample, self._file_row(sample)) for sample in samples if sample.id not in looked]

        def read(row: MapRow) -> MapArray | UserError:
            try:
                return self._store.load(row)
            except UserError as error:
                return error

        maps = map_threads(lambda pair: read(pair[1]), rows, workers=self._config.workers)
        yield from ((sample, row, one) for (sample, row), one in zip(rows, maps, strict=True))

    def _look(self, samples: Sequence[Sample]) -> Iterator[tuple[Sample, MapRow, MapArray]]:
        """Looks at a few images at a time, while threads decode the next ones."""
        assert self._open_eye is not None
        eye, looks = self._open_eye(), list_looks(flip=self._config.flip, scales=self._config.scales)

        def see(sample: Sample) -> tuple[Sample, tuple[int, int], list[Any]]:
            image = self.resolution.show(load_image(sample.image))
            return sample, image.shape[:2], [eye.ready(look.view(image)) for look in looks]

        seen = map_threads(see, samples, workers=self._config.workers)
        while batch := list(islice(seen, self._config.batch_size)):
            part, sizes, views = zip(*batch, strict=True)
            texts = [self._prompt(sample) for sample in part]
            answers = [
                eye.look(part, ready, [mirror_text(text) for text in texts] if look.mirrored else texts)
                for look, ready in zip(looks, zip(*views, strict=True), strict=True)
            ]
            found = average_looks(looks, answers, sizes) if self._config.averages else answers[0]
            for sample, one in zip(part, found, strict=True):
                yield sample, self._row(sample, float(one.score), ""), one.anomaly_map

    def _settle(self, sample: Sample, row: MapRow, anomaly_map: MapArray | UserError) -> _Settled:
        """Checks, scores and saves one map, in a thread, while somebody looks at the next images."""
        name = str(self._job.files.get(sample.id, sample.image))
        try:
            if isinstance(anomaly_map, UserError):
                raise anomaly_map
            native = read_size(sample.image) if row.map else anomaly_map.shape  # a new map is as large as its image
            fitted = self.resolution.fit_map(anomaly_map, native, name)
            map_range(fitted, name)
        except UserError as error:
            return _Settled(row, problem=str(error))
        of_map = self.kind is not ImageScore.model
        score = image_score(fitted, self.kind, self._config.score_fraction, row.score) if of_map else None
        if sample.id not in self.rows:
            path = row.map or self._store.save(sample.id, anomaly_map)
            row = replace(row, map=path, size=list(anomaly_map.shape))
        return _Settled(row, score)

    def _log(self, settled: _Settled) -> str:
        """Logs what one map came to; returns what is wrong with it, if anything is."""
        row = settled.row
        if settled.score is not None:
            self._store.add_score(self._score_key(row.id), settled.score)
        if not settled.problem and row.id not in self.rows:
            self._store.add_row(row)
        return settled.problem

    def _file_row(self, sample: Sample) -> MapRow:
        known = self.rows.get(sample.id)
        return known or self._row(sample, None, str(self._job.files[sample.id].resolve()))

    def _row(self, sample: Sample, score: float | None, path: str) -> MapRow:
        return MapRow(
            id=sample.id,
            key=self._keys[sample.id],
            image=str(sample.image),
            category=sample.category,
            defect=sample.defect,
            prompt=self._prompt(sample),
            score=score,
            map=path,
        )

    def _prompt(self, sample: Sample) -> str:
        return self._job.prompts.get(sample.id, "")

    def load(self, sample: Sample) -> ScoredImage:
        """Map and mask of a sample at the resolution of the evaluation."""
        native, row = read_size(sample.image), self.rows[sample.id]
        known = sample.is_normal or sample.mask is not None  # else a photo without a mask: no pixel is scored
        mask = self.resolution.fit_mask(load_mask(sample, native) if known else np.zeros(native, bool))
        fitted = self.resolution.fit_map(self._store.load(row), native, str(self._store.path(row)))
        return ScoredImage(str(sample.image), fitted, mask)

    def load_inside(self, sample: Sample, inside: Callable[[tuple[int, int]], MaskArray | None]) -> ScoredImage:
        """Map and mask of a sample in the box of the region that is measured."""
        scored, region = self.load(sample), inside(read_size(sample.image))
        if region is None:
            return scored
        region = self.resolution.fit_mask(region)
        left, top, right, bottom = bounding_box(region)
        part = np.s_[top:bottom, left:right]
        return replace(scored, anomaly_map=scored.anomaly_map[part], mask=(scored.mask & region)[part])

    def count_keys(self) -> dict[str, str]:
        """Sample id → what the counts of its pixels depend on; empty where nothing is counted."""
        if self._config.engine is not Engine.streaming:
            return {}
        contents = self._ranks.once(lambda: hash_samples(self.samples))
        how = [self._config.shown_resolution(), RULE, *self.resolution.map_facts, *self.resolution.mask_facts]
        return {s.id: hash_value([self._keys[s.id], one, *how]) for s, one in zip(self.samples, contents, strict=True)}

    def resized(self) -> list[str]:
        """Ids of the samples whose map had neither the native size nor that of the evaluation."""
        if not self._config.resize_maps:
            return []
        sizes = {sample.id: (read_size(sample.image), tuple(self.rows[sample.id].size)) for sample in self.samples}
        return sorted(
            name
            for name, (native, size) in sizes.items()
            if size != () and size not in self.resolution.expected(native)
        )
