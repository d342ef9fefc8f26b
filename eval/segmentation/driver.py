"""The one way from anomaly maps to figures, whoever makes the maps: a model, files of another method, or an expert.

Maps are made or checked image by image, shared out over the ranks and logged as they come, so that a cut-off run goes
on; then they are brought to the resolution of the evaluation, scored per category, and reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from data.content import hash_samples
from data.errors import UserError
from data.files import hash_value, write_json
from data.image_size import read_size
from data.parallel import map_threads
from data.ranks import Ranks
from data.sample import ImageArray, Sample, load_image, load_mask
from eval.metrics.pixels import Engine
from eval.metrics.scores import MapArray, ScoredImage, map_range
from eval.segmentation.averaging import average_looks, list_looks
from eval.segmentation.category_scores import ScoreSettings, score_categories
from eval.segmentation.config import ImageScore, ScoringConfig, config_facts
from eval.segmentation.image_score import image_score
from eval.segmentation.map_store import MapRow, MapStore
from eval.segmentation.report import write_segmentation_report
from eval.segmentation.resolution import RULE, Resolution, vanished_masks
from models.predictor import Predicted

log = logging.getLogger(__name__)
NAMED = 5  # maps that an error message names


class MapSource(Protocol):
    """Who makes the maps."""

    @property
    def has_scores(self) -> bool:
        """Whether an image score comes with each map."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Sample id → map that is there already; empty where `look` makes them."""

    def keys(self, samples: Sequence[Sample]) -> dict[str, str]:
        """Sample id → hash of everything that its map depends on, but for how often it is looked at."""

    def prompt(self, sample: Sample) -> str:
        """What the model is told about an image; empty for others."""

    def load(self) -> Callable[[ImageArray], Any]:
        """Loads who looks; returns how a thread makes ready what `look` takes of an image."""

    def look(self, samples: Sequence[Sample], views: Sequence[Any], mirrored: bool) -> Sequence[Predicted]:
        """One map a view, at the view's size; `mirrored` tells whether left and right have changed places."""

    def facts(self, rows: Mapping[str, MapRow]) -> dict[str, Any]:
        """What the summary says about the source; `rows` are those of all samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is evaluated, and where the results go.

    Attributes:
        name: Name of the result.
        samples: What is evaluated.
        skipped: Left out by rule: (sample id, reason).
        left_out: Number of samples that a subset leaves out.
        store: Folder of the maps, their log, and `image_scores.json`: sample id → image score.
        summary: JSON file of the summary.
        report: Folder of `results.json` and of the report; None writes none.
    """

    name: str
    samples: Sequence[Sample]
    skipped: Sequence[tuple[str, str]]
    left_out: int = 0
    store: Path
    summary: Path
    report: Path | None


def evaluate(source: MapSource, job: Job, config: ScoringConfig, ranks: Ranks) -> dict[str, Any]:
    """Evaluates the maps of a source and writes summary and report.

    Returns:
        The summary, as written.

    Raises:
        UserError: If a map, mask or image is missing, does not decode, has a NaN or an unexpected size. What is wrong
            with maps is collected: the first few are named, the others are kept.
    """
    started, started_cpu = time.perf_counter(), time.process_time()
    maps = _Maps(source, name_categories(job.samples), config, MapStore(job.store, ranks.rank), ranks)
    made = maps.complete()
    found, found_cpu = time.perf_counter(), time.process_time()
    figures = score_categories(
        maps.samples, maps.scores, maps.count_keys(), maps.load, _settings(config, job.store), ranks
    )
    summary = {
        "name": job.name,
        **source.facts(maps.rows),
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
        write_json(job.summary, summary)
        write_json(job.store / "image_scores.json", maps.scores)
        if job.report is not None:
            write_segmentation_report(job.report, summary, maps.samples, maps.scores, maps.load)
    ranks.wait()
    return summary


def name_categories(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of several datasets with categories named `dataset/category`: a zipper is not everybody's zipper."""
    if len({sample.dataset for sample in samples}) == 1:
        return list(samples)
    return [replace(sample, category=f"{sample.dataset}/{sample.category}") for sample in samples]


def as_it_is(image: ImageArray) -> ImageArray:
    """How an image is made ready for who takes images."""
    return image


def list_some(names: Sequence[object]) -> str:
    """The first few of some names, and how many more there are."""
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(str(name) for name in names[:NAMED]) + more


def _settings(config: ScoringConfig, store: Path) -> ScoreSettings:
    return ScoreSettings(
        engine=config.engine,
        aupro_limit=config.aupro_limit,
        iou_threshold=config.iou_threshold,
        state=store / "counts",
        workers=config.workers,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A map, or what is wrong with its file; `row` is what is to be logged, None where it is logged already."""

    sample: Sample
    anomaly_map: MapArray | UserError
    row: MapRow | None


@dataclass(slots=True)
class _Maps:
    """The maps of an evaluation and the image scores that come from them.

    Attributes:
        source: Who makes the maps.
        samples: Whose maps.
        config: Resolution, image score, looks.
        store: Where maps, rows and scores are remembered.
        ranks: Who shares the work.
        resolution: Where maps and masks meet.
        kind: How an image score comes from a map.
        keys: Sample id → what its map depends on.
        rows: Sample id → its row, once `complete` has run.
        scores: Sample id → its image score, once `complete` has run.
    """

    source: MapSource
    samples: Sequence[Sample]
    config: ScoringConfig
    store: MapStore
    ranks: Ranks
    resolution: Resolution = field(init=False)
    kind: ImageScore = field(init=False)
    keys: dict[str, str] = field(init=False)
    rows: dict[str, MapRow] = field(init=False)
    scores: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.resolution = Resolution(self.config.side(), self.config.resize_maps)
        self.kind = self.config.image_score
        if self.kind is ImageScore.auto:
            self.kind = ImageScore.model if self.source.has_scores else ImageScore.maximum
        self.keys = self.ranks.once(self._map_keys)

    def complete(self) -> int:
        """Makes and checks the maps that are missing, and scores their images; returns how many were missing.

        Raises:
            UserError: Naming the maps that cannot be scored; the others are kept.
        """
        self._resume()
        new = [sample for sample in self.samples if sample.id not in self.rows]
        unscored = [sample for sample in self.samples if sample.id in self.rows and sample.id not in self.scores]
        if self.ranks.is_main and self.rows:
            log.info("%d of %d anomaly maps are there from an earlier run.", len(self.rows), len(self.samples))
        total = len(self.ranks.share(new)) + len(self.ranks.share(unscored))
        progress = tqdm(self._find(new, unscored), "anomaly maps", total, unit="image", disable=not total)
        with self.store.writing():
            problems = [problem for found in progress if (problem := self._take(found))]
        problems = [problem for part in self.ranks.gather(problems) for problem in part]
        if problems:
            raise UserError(
                f"{len(problems)} of {len(self.samples)} anomaly maps cannot be scored: {list_some(problems)} "
                "The others are kept: correct these and run the same command again."
            )
        self._resume()
        return len(new)

    def load(self, sample: Sample) -> ScoredImage:
        """Map and mask of a sample at the resolution of the evaluation."""
        native = read_size(sample.image)
        mask = self.resolution.fit_mask(load_mask(sample, native))
        row = self.rows[sample.id]
        fitted = self.resolution.fit_map(self.store.load(row), native, str(self.store.path(row)))
        return ScoredImage(str(sample.image), fitted, mask)

    def count_keys(self) -> dict[str, str]:
        """Sample id → what the counts of its pixels depend on; empty where nothing is counted."""
        if self.config.engine is not Engine.streaming:
            return {}
        how = [self.config.shown_resolution(), RULE]

        def make() -> dict[str, str]:
            contents = hash_samples(self.samples)
            return {
                sample.id: hash_value([self.keys[sample.id], content, *how])
                for sample, content in zip(self.samples, contents, strict=True)
            }

        return self.ranks.once(make)

    def resized(self) -> list[str]:
        """Ids of the samples whose map had neither the native size nor that of the evaluation."""
        if not self.config.resize_maps:
            return []
        sizes = {sample.id: read_size(sample.image) for sample in self.samples}
        return sorted(
            name
            for name, native in sizes.items()
            if (size := tuple(self.rows[name].size)) and size not in (native, self.resolution.target(native))
        )

    def _map_keys(self) -> dict[str, str]:
        keys = self.source.keys(self.samples)
        if not self.config.averages:
            return keys
        looks = {"flip": self.config.flip, "scales": self.config.scales}
        return {name: hash_value([key, looks]) for name, key in keys.items()}

    def _resume(self) -> None:
        """Reads the rows and scores that hold, the same on all ranks."""
        self.rows = self.ranks.once(lambda: self.store.resume(self.keys))
        if self.kind is ImageScore.model:
            self.scores = {name: row.score for name, row in self.rows.items() if row.score is not None}
            return
        known = self.ranks.once(self.store.scores)
        self.scores = {name: known[key] for name in self.rows if (key := self._score_key(name)) in known}

    def _score_key(self, name: str) -> str:
        fraction = self.config.score_fraction if self.kind is ImageScore.top_mean else None
        how = [self.config.shown_resolution(), self.config.resize_maps, RULE, self.kind.value, fraction]
        return hash_value([self.keys[name], *how])

    def _find(self, new: Sequence[Sample], unscored: Sequence[Sample]) -> Iterator[_Found]:
        """This rank's share of the maps: the new ones, and those that only lack a score."""
        new, unscored = self.ranks.share(new), self.ranks.share(unscored)
        rows = [(sample, self.rows[sample.id], False) for sample in unscored]
        if self.source.files:
            files = [(sample, str(self.source.files[sample.id].resolve())) for sample in new]
            rows += [(sample, self._row(sample, None, path), True) for sample, path in files]
        elif new:
            yield from self._look(new)
        yield from map_threads(self._read, rows, workers=self.config.workers)

    def _read(self, item: tuple[Sample, MapRow, bool]) -> _Found:
        sample, row, is_new = item
        try:
            return _Found(sample, self.store.load(row), row if is_new else None)
        except UserError as error:
            return _Found(sample, error, None)

    def _look(self, samples: Sequence[Sample]) -> Iterator[_Found]:
        """Looks at a few images at a time, while threads decode the next ones."""
        ready, looks = self.source.load(), list_looks(flip=self.config.flip, scales=self.config.scales)

        def see(sample: Sample) -> tuple[tuple[int, int], list[Any]]:
            image = load_image(sample.image)
            return image.shape[:2], [ready(look.view(image)) for look in looks]

        seen = map_threads(see, samples, workers=self.config.workers)
        while batch := list(islice(seen, self.config.batch_size)):
            part, samples = samples[: len(batch)], samples[len(batch) :]
            views = zip(*(views for _, views in batch), strict=True)
            answers = [self.source.look(part, view, look.mirrored) for look, view in zip(looks, views, strict=True)]
            averages = self.config.averages
            found = average_looks(looks, answers, [size for size, _ in batch]) if averages else answers[0]
            for sample, one in zip(part, found, strict=True):
                yield _Found(sample, one.anomaly_map, self._row(sample, float(one.score), ""))

    def _row(self, sample: Sample, score: float | None, path: str) -> MapRow:
        return MapRow(
            id=sample.id,
            key=self.keys[sample.id],
            image=str(sample.image),
            category=sample.category,
            defect=sample.defect,
            prompt=self.source.prompt(sample),
            score=score,
            map=path,
        )

    def _take(self, found: _Found) -> str:
        """Checks, scores, saves and logs one map; returns what is wrong with it, if anything is."""
        sample, anomaly_map, row = found.sample, found.anomaly_map, found.row
        if isinstance(anomaly_map, UserError):
            return str(anomaly_map)
        name = str(self.source.files.get(sample.id, sample.image))
        try:
            fitted = self.resolution.fit_map(anomaly_map, read_size(sample.image), name)
            map_range(fitted, name)
        except UserError as error:
            return str(error)
        if self.kind is not ImageScore.model:
            score = image_score(fitted, self.kind, self.config.score_fraction)
            self.store.add_score(self._score_key(sample.id), score)
        if row is not None:
            path = row.map or self.store.save(sample.id, anomaly_map)
            self.store.add_row(replace(row, map=path, size=list(anomaly_map.shape)))
        return ""
