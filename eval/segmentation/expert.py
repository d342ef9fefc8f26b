"""How good a vision expert is on its own: pixel and image metrics, and what its gate lets through."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_file, hash_value, write_json
from data.ranks import join_ranks
from data.sample import Sample, load_image, load_mask
from data.source import Listing, Source, load_samples
from eval.metrics.scores import ScoredImage
from eval.segmentation.category_scores import ScoreSettings, score_categories
from eval.segmentation.map_store import MapRow, MapStore
from models.experts.expert import Expert, Gate
from models.experts.load import load_expert
from models.experts.store import EXPERT, read_expert

log = logging.getLogger(__name__)
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")


@dataclass(kw_only=True, slots=True)
class EvalExpertConfig:
    """Which expert on what.

    Attributes:
        preset: Name of the preset, kept with the results.
        expert: Which expert.
        expert_dir: Where it was fitted to, or where its maps are; empty for the oracle.
        dataset: Key of `data.readers.READERS`.
        data_root: Folder of the dataset.
        splits: Splits to evaluate; images that the expert was fitted on or its gate set on are left out, and listed.
        categories: Categories to evaluate; empty takes all.
        skip_empty_masks: Leave out (and list) anomalous images whose mask is empty, instead of failing on them.
        out: Output directory: `expert.json`, and the anomaly maps in `maps/`, which `expert=precomputed` reads.
        batch_size: Images a batch.
        aupro_limit: False-positive rate up to which AUPRO integrates.
    """

    preset: str
    expert: str
    expert_dir: str
    dataset: str
    data_root: str
    splits: list[str]
    categories: list[str]
    skip_empty_masks: bool
    out: str
    batch_size: int
    aupro_limit: float


def evaluate_expert(config: EvalExpertConfig) -> dict[str, Any]:
    """Evaluates an expert, writes `expert.json` and logs a table.

    Raises:
        UserError: If the expert is not fitted for a category, or a file is missing or corrupt.
    """
    if config.batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {config.batch_size}.")
    source = Source(
        reader=config.dataset,
        root=config.data_root,
        splits=config.splits,
        categories=config.categories,
        skip_empty_masks=config.skip_empty_masks,
    )
    listing = list_unfitted(source, config.expert_dir)
    samples, skipped = listing.samples, listing.skipped
    expert = load_expert(config.expert, config.expert_dir)
    categories = sorted({sample.category for sample in samples})
    expert.check(categories)
    log.info("%s on %d images; %d left out", expert.name, len(samples), len(skipped))
    store, started = MapStore(Path(config.out)), time.perf_counter()
    rows, gates = _detect(expert, samples, store, expert_digest(config.expert, config.expert_dir), config.batch_size)
    seconds = time.perf_counter() - started
    result = {
        "expert": expert.name,
        "sees_truth": expert.sees_truth,
        **_score(samples, rows, store, config.aupro_limit),
        "gate": {
            name: _pass_rates([s for s in samples if s.category == name], rows, gates[name]) for name in categories
        },
        "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in skipped],
        "seconds": seconds,
        "config": asdict(config),
    }
    write_json(Path(config.out) / "expert.json", result)
    _log_table(result)
    log.info("wrote %s", Path(config.out) / "expert.json")
    return result


def list_unfitted(source: Source, folder: str) -> Listing:
    """The samples of a source without those that an expert was fitted on, which are listed as skipped.

    Args:
        source: What to list.
        folder: Of the expert; empty for the oracle.

    Raises:
        UserError: If nothing is left.
    """
    listing, seen = load_samples([source]), fitted_ids(folder)
    samples = [sample for sample in listing.samples if sample.id not in seen]
    if not samples:
        raise UserError(f"The expert in {folder} was fitted on all {len(listing.samples)} images. Give other splits.")
    return Listing(samples, [*listing.skipped, *((s.id, "fitted on") for s in listing.samples if s.id in seen)])


def fitted_ids(folder: str) -> set[str]:
    """Ids of the images that an expert was fitted on; empty without a fit (oracle, maps whose gate came along)."""
    if not folder or not (Path(folder) / EXPERT).is_file():
        return set()
    return {sample_id for ids in read_expert(Path(folder))["fitted"].values() for sample_id in ids}


def _detect(
    expert: Expert, samples: Sequence[Sample], store: MapStore, digest: str, batch_size: int
) -> tuple[dict[str, MapRow], dict[str, Gate]]:
    """Anomaly maps of all samples, those of an earlier run reused, and the gate of each category."""
    keys = {sample.id: hash_value([digest, hash_file(sample.image)]) for sample in samples}
    rows = store.resume(keys)
    if rows:
        log.info("%d of %d anomaly maps are there from an earlier run.", len(rows), len(samples))
    gates: dict[str, Gate] = {}
    probes = {sample.category: sample for sample in samples}  # a reused category still needs its gate
    pending = [s for s in samples if s.id not in rows or s is probes[s.category]]
    spoken = time.monotonic()
    for batch in _batches(pending, batch_size):
        images = [load_image(sample.image) for sample in batch]
        found = expert.detect(batch, images)
        gates |= {sample.category: detection.gate for sample, detection in zip(batch, found, strict=True)}
        fresh = [index for index, sample in enumerate(batch) if sample.id not in rows]
        added = store.add(
            [
                {
                    "id": batch[index].id,
                    "key": keys[batch[index].id],
                    "image": str(batch[index].image),
                    "category": batch[index].category,
                    "defect": batch[index].defect,
                    "prompt": "",
                    "score": found[index].score,
                }
                for index in fresh
            ],
            [found[index].anomaly_map for index in fresh],
        )
        rows |= {row.id: row for row in added}
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("%d of %d images", len(rows), len(samples))
    return rows, gates


def expert_digest(name: str, folder: str) -> str:
    """Changes with anything that an expert's maps depend on; with each call for the oracle, which has no folder."""
    if not folder:
        return uuid.uuid4().hex
    return hash_value([name, *(hash_file(path) for path in sorted(Path(folder).rglob("*")) if path.is_file())])


def _score(samples: Sequence[Sample], rows: dict[str, MapRow], store: MapStore, aupro_limit: float) -> dict[str, Any]:
    def load(sample: Sample) -> ScoredImage:
        anomaly_map = store.load(rows[sample.id])
        height, width = anomaly_map.shape
        return ScoredImage(str(sample.image), anomaly_map, load_mask(sample, (height, width)))

    scores = {sample.id: rows[sample.id].score for sample in samples}
    keys = {sample.id: rows[sample.id].key for sample in samples}
    return score_categories(samples, scores, keys, load, ScoreSettings(aupro_limit=aupro_limit), join_ranks())


def _pass_rates(samples: Sequence[Sample], rows: dict[str, MapRow], gate: Gate) -> dict[str, float | None]:
    """Percent of normal and of anomalous images that the gate calls good, and its thresholds."""
    passed: dict[bool, list[bool]] = {True: [], False: []}
    for sample in samples:
        passed[sample.is_normal].append(rows[sample.id].score < gate.score)
    rates = {normal: 100 * sum(found) / len(found) if found else None for normal, found in passed.items()}
    return {
        "normal_passed": rates[True],
        "anomalous_passed": rates[False],
        "score_threshold": gate.score,
        "pixel_threshold": gate.pixel,
    }


def _batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _log_table(result: dict[str, Any]) -> None:
    log.info(
        "%-20s%s%16s%16s", "percent", "".join(f"{name:>14}" for name in COLUMNS), "normals passed", "anomal. passed"
    )
    for category, values in [*result["categories"].items(), ("mean", result["mean"])]:
        gate = result["gate"].get(category, {})
        cells = [values.get(name) for name in COLUMNS]
        rates = [gate.get(name) for name in ("normal_passed", "anomalous_passed")]
        shown = "".join(f"{_cell(cell):>14}" for cell in cells) + "".join(f"{_cell(rate):>16}" for rate in rates)
        log.info("%-20s%s", category, shown)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
