"""Zero-shot segmentation (EIAD, Tables IV–VII): anomaly maps for every image, then metrics per category.

Results are kept per image, so a cut-off run goes on. Under `torchrun` the ranks share the images.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.errors import UserError
from data.files import hash_file, hash_value, write_json
from data.ranks import Ranks, join_ranks
from data.run import Run, open_run
from data.sample import Sample, load_image, load_mask
from data.source import load_samples
from data.training.descriptions import load_descriptions
from data.training.grounding import DescriptionMode
from eval.metrics.scores import ScoredImage
from eval.segmentation.averaging import AveragingPredictor, Predictor
from eval.segmentation.category_scores import METRICS, ScoreSettings, score_categories
from eval.segmentation.config import ImageScore, SegmentationConfig
from eval.segmentation.image_score import image_score
from eval.segmentation.map_store import MapRow, MapStore
from eval.segmentation.prompts import TextSource, evaluation_prompts
from eval.segmentation.report import write_segmentation_report
from eval.segmentation.resolution import Resolution, vanished_masks
from eval.segmentation.subset import choose_subset
from eval.segmentation.zero_shot import check_zero_shot

__all__ = ["METRICS", "SegmentationConfig", "evaluate_segmentation", "hash_model"]

log = logging.getLogger(__name__)


def _load_mdlm(run: Run, model: str) -> Predictor:
    """Imports torch and the models only now: a run whose maps are all there starts without them."""
    from models.mdlm.files import load_mdlm

    return load_mdlm(run, model)


def evaluate_segmentation(
    config: SegmentationConfig, load: Callable[[Run, str], Predictor] = _load_mdlm
) -> dict[str, Any]:
    """Evaluates an MDLM and writes `RUN/eval/segmentation_<name>.json`, or a report into `out`.

    Args:
        config: What to evaluate.
        load: Loads the predictor of a run by name; called only when some map is missing.

    Returns:
        The summary, as written.

    Raises:
        UserError: If the run has no such model, a category was trained on, or an image, mask or text is missing.
    """
    config.check()
    ranks = join_ranks()
    run, model = open_run(config.run), config.model_name()
    folder = run.mdlm / model
    if model not in list(DescriptionMode):
        raise UserError(f"No MDLM is called '{model}'. Choose model= from {', '.join(DescriptionMode)}.")
    if not (folder / "config.json").is_file():
        raise UserError(
            f"No trained MDLM at {folder}. Train it first: python -m scripts.train_mdlm run_dir={config.run} "
            f"description={model}"
        )
    sources = config.sources()
    listing = load_samples(sources)
    guard = check_zero_shot(run, folder, config.description, listing.samples) if config.zero_shot else "off"
    samples = choose_subset(config.subset, listing.samples, sources)
    prompts = evaluation_prompts(samples, config.description, _descriptions(run, config), config.seed)
    result = (Path(config.out) if config.out else run.eval) / f"segmentation_{config.result_name()}"
    store = MapStore(result, ranks.rank)
    digest = hash_model(folder)
    keys = _keys(config, digest, samples, prompts)
    started, started_cpu = time.perf_counter(), time.process_time()
    rows = _resume(store, keys, ranks)
    if rows and ranks.is_main:
        log.info("%d of %d anomaly maps are there from an earlier run.", len(rows), len(samples))
    pending = [(sample, text) for sample, text in zip(samples, prompts, strict=True) if sample.id not in rows]
    _predict(ranks.share(pending), keys, store, lambda: _load_predictor(config, load, run, model), config)
    ranks.wait()
    rows = _resume(store, keys, ranks)
    predicted, predicted_cpu = time.perf_counter(), time.process_time()
    resolution = Resolution(config.side(), config.resize_maps)

    def load_scored(sample: Sample) -> ScoredImage:
        anomaly_map = store.load(rows[sample.id])
        height, width = anomaly_map.shape
        mask = resolution.fit_mask(load_mask(sample, (height, width)))
        fitted = resolution.fit_map(anomaly_map, (height, width), str(sample.image))
        return ScoredImage(str(sample.image), fitted, mask)

    settings = ScoreSettings(
        engine=config.engine,
        aupro_limit=config.aupro_limit,
        iou_threshold=config.iou_threshold,
        state=store.folder / "counts",
    )
    scores = {sample.id: rows[sample.id].score for sample in samples}
    figures = score_categories(samples, scores, keys, load_scored, settings, ranks)
    summary = {
        "name": config.result_name(),
        "description": config.description.value,
        "model": model,
        "model_hash": digest,
        "resolution": config.shown_resolution(),
        "engine": config.engine.value,
        "image_score": config.score_kind().value,
        "zero_shot": guard,
        **figures,
        "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in listing.skipped],
        "vanished_masks": vanished_masks(samples, resolution, ranks),
        "left_out_by_subset": len(listing.samples) - len(samples),
        "seconds": {"model": predicted - started, "metrics": time.perf_counter() - predicted},
        "cpu_seconds": {"model": predicted_cpu - started_cpu, "metrics": time.process_time() - predicted_cpu},
        "new_maps": len(pending),
        "config": config_facts(config),
    }
    if ranks.is_main:
        write_json(result.with_suffix(".json"), summary)
        if config.out:
            write_segmentation_report(Path(config.out), summary, samples, scores, load_scored)
    ranks.wait()
    return summary


def config_facts(config: SegmentationConfig) -> dict[str, Any]:
    """The config as JSON can hold it."""
    return {**asdict(config), "engine": config.engine.value}


def _keys(config: SegmentationConfig, digest: str, samples: Sequence[Sample], prompts: Sequence[str]) -> dict[str, str]:
    """Sample id → hash of everything that its map and score depend on."""
    looks = {"flip": config.flip, "scales": config.scales} if config.flip or config.scales != [1.0] else None
    score = config.score_kind()
    how: list[object] = [looks] if looks else []
    how += [[score.value, config.score_fraction]] if score is not ImageScore.model else []
    return {
        sample.id: hash_value([digest, hash_file(sample.image), text, *how])
        for sample, text in zip(samples, prompts, strict=True)
    }


def _resume(store: MapStore, keys: Mapping[str, str], ranks: Ranks) -> dict[str, MapRow]:
    """The rows that hold, the same on all ranks."""
    return ranks.broadcast(store.resume(keys) if ranks.is_main else {})


def _load_predictor(
    config: SegmentationConfig, load: Callable[[Run, str], Predictor], run: Run, model: str
) -> Predictor:
    predictor = load(run, model)
    if not config.flip and config.scales == [1.0]:
        return predictor
    return AveragingPredictor(predictor, flip=config.flip, scales=config.scales)


def hash_model(folder: Path) -> str:
    """Hash of the files that make a trained model, leaving out logs and resume state.

    Raises:
        UserError: If the folder holds no weights.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".json") and "checkpoints" not in path.relative_to(folder).parts
    )
    if not any(path.suffix == ".safetensors" for path in files):
        raise UserError(f"No trained weights in {folder}: train the MDLM first (python -m scripts.train_mdlm).")
    return hash_value([(path.relative_to(folder).as_posix(), hash_file(path)) for path in files])


def _descriptions(run: Run, config: SegmentationConfig) -> dict[str, str]:
    if config.description is not TextSource.eddm:
        return {}
    path = run.descriptions / f"{config.descriptions or config.part}.jsonl"
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Write them first: python -m scripts.describe run={run.path}")
    return load_descriptions(path)


def _predict(
    pending: Sequence[tuple[Sample, str]],
    keys: Mapping[str, str],
    store: MapStore,
    load: Callable[[], Predictor],
    config: SegmentationConfig,
) -> None:
    if not pending:
        return
    predictor, kind, batch_size = load(), config.score_kind(), config.batch_size
    with tqdm(total=len(pending), desc="anomaly maps", unit="image") as progress:
        for start in range(0, len(pending), batch_size):
            batch = pending[start : start + batch_size]
            images = [load_image(sample.image) for sample, _ in batch]
            predictions = predictor.predict(images, [text for _, text in batch])
            new = [
                {
                    "id": sample.id,
                    "key": keys[sample.id],
                    "image": str(sample.image),
                    "category": sample.category,
                    "defect": sample.defect,
                    "prompt": text,
                    "score": float(
                        prediction.score
                        if kind is ImageScore.model
                        else image_score(prediction.anomaly_map, kind, config.score_fraction)
                    ),
                }
                for (sample, text), prediction in zip(batch, predictions, strict=True)
            ]
            store.add(new, [prediction.anomaly_map for prediction in predictions])
            progress.update(len(batch))
