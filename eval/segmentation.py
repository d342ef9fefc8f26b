"""Zero-shot segmentation (EIAD, Tables IV–VII): anomaly maps for every image, then exact metrics per category.

Maps are compared at the native resolution of each image. Results are kept per image, so a cut-off run goes on.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.descriptions import load_descriptions
from data.errors import UserError
from data.files import hash_file, hash_value, write_json
from data.grounding import DescriptionMode
from data.run import Run, open_run
from data.sample import ImageArray, Sample, load_image, load_mask
from data.source import DataConfig, load_samples
from eval.image_metrics import image_metrics
from eval.map_store import MapRow, MapStore
from eval.pixel_metrics import AUPRO_LIMIT, ScoredImage, pixel_metrics
from eval.prompts import TextSource, evaluation_prompts
from eval.subset import choose_subset
from eval.zero_shot import check_zero_shot
from models.adapter import load_mdlm

log = logging.getLogger(__name__)

METRICS = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro", "image_auroc")
_NAMES = {TextSource.eddm: "with_eddm", TextSource.fixed: "without_eddm"}


@dataclass(kw_only=True, slots=True)
class SegmentationConfig:
    """One evaluation.

    Attributes:
        preset: Name of the preset; recorded, not interpreted.
        run: Run directory with a trained MDLM; results go to its `eval/`.
        data: Training and zero-shot sources.
        part: `zero_shot`, or `train` to look at the training side.
        description: Where the text of each image comes from.
        model: Which of `RUN/mdlm/<model>` to evaluate; empty takes `fixed` for the fixed prompt, else `eddm`.
        descriptions: Name of the log `RUN/descriptions/<name>.jsonl`; empty takes the name of the part.
        subset: Empty for all images, `decoys` for images with decoys, or a file with one sample id a line.
        name: Name of the result, `RUN/eval/segmentation_<name>.json`; empty composes it from the choices above.
        zero_shot: Refuse to evaluate categories or images that the model was trained on.
        batch_size: Images per forward pass.
        aupro_limit: Upper limit of the false-positive rate in AUPRO.
        seed: Seed of `description=shuffled`.
    """

    preset: str
    run: str
    data: DataConfig
    part: str = "zero_shot"
    description: TextSource = TextSource.eddm
    model: str = ""
    descriptions: str = ""
    subset: str = ""
    name: str = ""
    zero_shot: bool = True
    batch_size: int = 8
    aupro_limit: float = AUPRO_LIMIT
    seed: int = 0

    def result_name(self) -> str:
        """`name`, or one that tells the text source, subset and part apart."""
        parts = [_NAMES.get(self.description, self.description.value)]
        parts += [Path(self.subset).stem] if self.subset else []
        parts += [self.part] if self.part != "zero_shot" else []
        return self.name or "_".join(parts)

    def model_name(self) -> str:
        """`model`, or the one trained for the text source."""
        return self.model or (TextSource.fixed if self.description is TextSource.fixed else TextSource.eddm).value


class Predicted(Protocol):
    """What a predictor says about one image: anomaly map (H, W) at native size and image score."""

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(H, W), higher is worse."""

    @property
    def score(self) -> float:
        """Higher is worse."""


class Predictor(Protocol):
    """Anything that turns images and prompts into anomaly maps."""

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> Sequence[Predicted]:
        """One prediction an image."""


def evaluate_segmentation(
    config: SegmentationConfig, load: Callable[[Run, str], Predictor] = load_mdlm
) -> dict[str, Any]:
    """Evaluates an MDLM and writes `RUN/eval/segmentation_<name>.json`.

    Args:
        config: What to evaluate.
        load: Loads the predictor of a run by name; called only when some map is missing.

    Returns:
        The summary, as written.

    Raises:
        UserError: If the run has no such model, a category was trained on, or an image, mask or text is missing.
    """
    run, model = open_run(config.run), config.model_name()
    folder = run.mdlm / model
    if model not in list(DescriptionMode):
        raise UserError(f"No MDLM is called '{model}'. Choose model= from {', '.join(DescriptionMode)}.")
    if not (folder / "config.json").is_file():
        raise UserError(
            f"No trained MDLM at {folder}. Train it first: python -m scripts.train_mdlm run_dir={config.run} "
            f"description={model}"
        )
    sources = config.data.part(config.part)
    listing = load_samples(sources)
    guard = check_zero_shot(run, folder, config.description, listing.samples) if config.zero_shot else "off"
    samples = choose_subset(config.subset, listing.samples, sources)
    prompts = evaluation_prompts(samples, config.description, _descriptions(run, config), config.seed)
    store = MapStore(run.eval / f"segmentation_{config.result_name()}")
    digest = hash_model(folder)
    keys = {s.id: hash_value([digest, hash_file(s.image), text]) for s, text in zip(samples, prompts, strict=True)}
    started = time.perf_counter()
    rows = store.resume(keys)
    if rows:
        log.info("%d of %d anomaly maps are there from an earlier run.", len(rows), len(samples))
    pending = [(sample, text) for sample, text in zip(samples, prompts, strict=True) if sample.id not in rows]
    rows |= _predict(pending, keys, store, lambda: load(run, model), config.batch_size)
    predicted = time.perf_counter()
    summary = {
        "name": config.result_name(),
        "description": config.description.value,
        "model": model,
        "model_hash": digest,
        "resolution": "native",
        "zero_shot": guard,
        **score_maps(samples, rows, store, config.aupro_limit),
        "skipped": [{"id": sample_id, "reason": reason} for sample_id, reason in listing.skipped],
        "left_out_by_subset": len(listing.samples) - len(samples),
        "seconds": {"model": predicted - started, "metrics": time.perf_counter() - predicted},
        "new_maps": len(pending),
        "config": asdict(config),
    }
    write_json(run.eval / f"segmentation_{config.result_name()}.json", summary)
    return summary


def score_maps(
    samples: Sequence[Sample], rows: Mapping[str, MapRow], store: MapStore, aupro_limit: float
) -> dict[str, Any]:
    """Metrics in percent per category, and their mean over the categories that have a value.

    Returns:
        `mean`, `categories`, `undefined` (category → metric group → reason), `images`.
    """
    by_category: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_category[sample.category].append(sample)
    categories: dict[str, dict[str, Any]] = {}
    undefined: dict[str, dict[str, str]] = {}
    for category in tqdm(sorted(by_category), desc="pixel metrics", unit="category"):
        members = by_category[category]
        pixels = pixel_metrics(StoredImages(members, rows, store), aupro_limit=aupro_limit)
        images = image_metrics([rows[s.id].score for s in members], [not s.is_normal for s in members])
        categories[category] = {
            "pixel_auroc": _percent(pixels.auroc),
            "pixel_f1_max": _percent(pixels.f1_max),
            "pixel_ap": _percent(pixels.ap),
            "pixel_aupro": _percent(pixels.aupro),
            "image_auroc": _percent(images.auroc),
            "pixel_f1_threshold": pixels.f1_threshold,
            "images": len(members),
            "normal": sum(s.is_normal for s in members),
        }
        reasons = {"pixel": pixels.reason, "image": images.reason}
        if any(reasons.values()):
            undefined[category] = {kind: reason for kind, reason in reasons.items() if reason}
    mean = {metric: _mean([values[metric] for values in categories.values()]) for metric in METRICS}
    normal = sum(sample.is_normal for sample in samples)
    counts = {"total": len(samples), "normal": normal, "anomalous": len(samples) - normal}
    return {"mean": mean, "categories": categories, "undefined": undefined, "images": counts}


@dataclass(frozen=True, slots=True)
class StoredImages:
    """The scored images of some samples, decoded on each iteration and never held together."""

    samples: Sequence[Sample]
    rows: Mapping[str, MapRow] = field(repr=False)
    store: MapStore

    def __iter__(self) -> Iterator[ScoredImage]:
        """Decodes mask and map, one image at a time."""
        for sample in self.samples:
            anomaly_map = self.store.load(self.rows[sample.id])
            height, width = anomaly_map.shape
            yield ScoredImage(str(sample.image), anomaly_map, load_mask(sample, (height, width)))


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
    batch_size: int,
) -> dict[str, MapRow]:
    if not pending:
        return {}
    predictor = load()
    rows: dict[str, MapRow] = {}
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
                    "score": float(prediction.score),
                }
                for (sample, text), prediction in zip(batch, predictions, strict=True)
            ]
            rows |= {row.id: row for row in store.add(new, [prediction.anomaly_map for prediction in predictions])}
            progress.update(len(batch))
    return rows


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
