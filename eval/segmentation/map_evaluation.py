"""Scores precomputed anomaly maps, from any method, with the same engine that scores EIAD."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.errors import UserError
from data.files import hash_value, write_json
from data.ranks import Ranks, join_ranks
from data.sample import Sample, load_mask
from data.source import Source, load_samples
from eval.metrics.scores import MapArray, ScoredImage, check_image, score_range
from eval.segmentation.category_scores import ScoreSettings, score_categories
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import config_facts
from eval.segmentation.image_score import image_score
from eval.segmentation.map_files import MapFiles, find_maps, list_some
from eval.segmentation.map_store import MapRow, MapStore
from eval.segmentation.report import write_segmentation_report
from eval.segmentation.resolution import Resolution, Size, image_size, vanished_masks
from eval.segmentation.subset import choose_subset
from models.experts.map_file import read_map

log = logging.getLogger(__name__)

BATCH = 32  # rows between two writes of the log


def evaluate_maps(config: SegmentationConfig) -> dict[str, Any]:
    """Scores the maps in `maps` and writes report, `results.json`, `segmentation.json` and `images.jsonl` to `out`.

    Returns:
        The summary, as written to `segmentation.json`.

    Raises:
        UserError: If a map is missing, does not decode, has a NaN or an unexpected size or type; all are checked
            before, and the first few are named.
    """
    config.check()
    ranks = join_ranks()
    started = time.perf_counter()
    root, out = Path(config.data_root), Path(config.out)
    sources = config.sources()
    listing = load_samples(sources)
    samples = choose_subset(config.subset, listing.samples, sources)
    whole = load_samples([Source(reader=config.dataset, root=config.data_root)]).samples
    files = find_maps(Path(config.maps), root, samples, [sample.image for sample in whole])
    _check_extra(files, config)
    scoring = _Maps(files.paths, Resolution(config.side(), config.resize_maps))
    store = MapStore(out, ranks.rank)
    keys = {sample.id: _key(config, sample, files.paths[sample.id]) for sample in samples}
    rows = ranks.broadcast(store.resume(keys) if ranks.is_main else {})
    if rows and ranks.is_main:
        log.info("%d of %d maps are scored already, by an earlier run.", len(rows), len(samples))
    pending = [sample for sample in samples if sample.id not in rows]
    problems = _score_images(ranks.share(pending), keys, scoring, store, config, ranks)
    _report_problems([problem for part in ranks.gather(problems) for problem in part], len(samples), config)
    rows = ranks.broadcast(store.resume(keys) if ranks.is_main else {})
    read = time.perf_counter()
    settings = ScoreSettings(
        engine=config.engine,
        aupro_limit=config.aupro_limit,
        iou_threshold=config.iou_threshold,
        state=out / "counts",
    )
    scores = {sample.id: rows[sample.id].score for sample in samples}
    figures = score_categories(samples, scores, keys, scoring.load, settings, ranks)
    summary = {
        "name": config.name or Path(config.maps).name,
        "maps": str(Path(config.maps).resolve()),
        "resolution": config.shown_resolution(),
        "engine": config.engine.value,
        "image_score": config.score_kind().value,
        **figures,
        "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in listing.skipped],
        "vanished_masks": vanished_masks(samples, scoring.resolution, ranks),
        "resized_maps": sorted(sample.id for sample in samples if rows[sample.id].resized),
        "left_out_by_subset": len(listing.samples) - len(samples),
        "unused_maps": len(files.unused),
        "extra_maps": [str(path) for path in files.extra],
        "map_files": dict(Counter(path.suffix.lower() for path in files.paths.values())),
        "seconds": {"reading": read - started, "metrics": time.perf_counter() - read},
        "config": config_facts(config),
    }
    if ranks.is_main:
        write_json(out / "segmentation.json", summary)
        write_segmentation_report(out, summary, samples, scores, scoring.load)
    ranks.wait()
    return summary


class _Maps:
    """Map and mask of a sample at the resolution of the evaluation; `resized` holds the ids whose map had another."""

    def __init__(self, paths: Mapping[str, Path], resolution: Resolution) -> None:
        self.resolution = resolution
        self.resized: set[str] = set()
        self._paths = paths

    def load(self, sample: Sample) -> ScoredImage:
        path, native = self._paths[sample.id], image_size(sample.image)
        mask = self.resolution.fit_mask(load_mask(sample, native))
        return ScoredImage(str(path), self.load_map(sample, native), mask)

    def load_map(self, sample: Sample, native: Size) -> MapArray:
        path = self._paths[sample.id]
        anomaly_map = read_map(path)
        if anomaly_map.shape not in (native, self.resolution.target(native)):
            self.resized.add(sample.id)
        return self.resolution.fit_map(anomaly_map, native, str(path))

    def load_valid(self, sample: Sample) -> ScoredImage:
        """Raises a UserError that names the file if the map cannot be scored."""
        image = self.load(sample)
        check_image(image)
        score_range(image)
        return image


def _key(config: SegmentationConfig, sample: Sample, path: Path) -> str:
    """Hash of what the score of a map depends on; the file counts as changed when its size or time is."""
    status = path.stat()
    settings = [config.shown_resolution(), config.resize_maps, config.score_kind().value, config.score_fraction]
    return hash_value([str(path.resolve()), status.st_size, status.st_mtime_ns, str(sample.image), settings])


def _score_images(
    samples: Sequence[Sample],
    keys: Mapping[str, str],
    maps: _Maps,
    store: MapStore,
    config: SegmentationConfig,
    ranks: Ranks,
) -> list[str]:
    """Checks and scores maps, logs them as they come, and returns what is wrong with the others."""
    problems: list[str] = []
    rows: list[MapRow] = []
    for count, sample in enumerate(tqdm(samples, desc="maps", unit="image", disable=not ranks.is_main), 1):
        try:
            image = maps.load_valid(sample)
        except UserError as error:
            problems.append(str(error))
        else:
            score = image_score(image.anomaly_map, config.score_kind(), config.score_fraction)
            rows.append(
                MapRow(
                    id=sample.id,
                    key=keys[sample.id],
                    image=str(sample.image),
                    category=sample.category,
                    defect=sample.defect,
                    prompt="",
                    score=score,
                    map=str(Path(image.name).resolve()),
                    resized=sample.id in maps.resized,
                )
            )
        if rows and (len(rows) == BATCH or count == len(samples)):
            store.log_rows(rows)
            rows = []
    return problems


def _report_problems(problems: Sequence[str], total: int, config: SegmentationConfig) -> None:
    if problems:
        raise UserError(
            f"{len(problems)} of {total} anomaly maps in {config.maps} cannot be scored: {list_some(problems)} "
            "The others are kept: correct these and run the same command again."
        )


def _check_extra(files: MapFiles, config: SegmentationConfig) -> None:
    if files.extra and not config.allow_extra_maps:
        raise UserError(
            f"{len(files.extra)} maps in {config.maps} belong to no image of {config.data_root}: "
            f"{list_some(files.extra)}. Remove them, or let them be counted only: allow_extra_maps=true."
        )
