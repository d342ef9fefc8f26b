"""Fits a vision expert on normal images and sets its gate on images that the fit has not seen."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.files import make_dir
from data.sample import ImageArray, MaskArray, Sample, load_image, load_mask
from data.source import Source, load_samples
from models.experts.expert import Gate, MapArray
from models.experts.gate import GateConfig, GateMethod, f1_max_gate, quantile_gate
from models.experts.load import ExpertName
from models.experts.patchcore import PatchCore, PatchCoreConfig
from models.experts.precomputed import PrecomputedExpert
from models.experts.store import write_expert, write_gates

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class FitExpertConfig:
    """What to fit on what.

    Attributes:
        preset: Name of the preset; recorded, not interpreted.
        expert: `patchcore`, or `precomputed`, of which only the gate is fitted.
        dataset: Key of `data.readers.READERS`.
        data_root: Folder of the dataset.
        splits: Splits with the normal images to fit on; anomalous ones among them are left out, and counted.
        categories: Categories to fit; empty fits all.
        train_share: Share of the normal images that is used, evenly spread over the listing: for datasets without a
            training split. The others stay unseen: `scripts.eval_expert` leaves out what an expert was fitted on.
        validation_splits: Splits with normal and anomalous images for `gate.method=f1_max`.
        out: Where to write the fitted expert; of `precomputed`, the folder that holds the maps.
        gate: How the thresholds are set.
        patchcore: Sizes of PatchCore.
        seed: Of the choice of the held-out normal images.
    """

    preset: str
    expert: ExpertName
    dataset: str
    data_root: str
    splits: list[str]
    categories: list[str]
    train_share: float
    validation_splits: list[str]
    out: str
    gate: GateConfig
    patchcore: PatchCoreConfig
    seed: int

    def samples(self, splits: list[str]) -> list[Sample]:
        """Lists the samples of some splits of the dataset."""
        source = Source(reader=self.dataset, root=self.data_root, splits=splits, categories=self.categories)
        return load_samples([source]).samples


def fit_expert(config: FitExpertConfig) -> None:
    """Fits every category of the data and writes the expert.

    Raises:
        UserError: If there is nothing to fit, too little to hold out, or the gate's data does not suit its method.
    """
    if config.expert is ExpertName.oracle:
        raise UserError("The oracle has nothing to fit. Fit patchcore or precomputed.")
    uses_validation = config.gate.method is GateMethod.f1_max
    if uses_validation != bool(config.validation_splits):
        what = "needs validation_splits" if uses_validation else "takes no validation_splits; leave them out"
        raise UserError(f"gate.method={config.gate.method.value} {what}.")
    folder = Path(config.out)
    normals = normal_samples(config.samples(config.splits), config.train_share)
    validation = _by_category(config.samples(config.validation_splits)) if uses_validation else {}
    _check_validation(normals, validation, uses_validation)
    expert: PatchCore | PrecomputedExpert
    patchcore = config.expert is ExpertName.patchcore
    expert = PatchCore(config.patchcore) if patchcore else PrecomputedExpert(folder, {})
    fitted = {}
    for category, samples in normals.items():
        started = time.monotonic()
        fit, held_out = (samples, []) if uses_validation or not patchcore else hold_out(samples, config)
        if isinstance(expert, PatchCore):
            log.info("%s: fitting on %d normal images", category, len(fit))
            memory = expert.fit(category, _batches(fit, config.patchcore.batch_size))
            log.info("%s: memory of %d patches, %.1f s", category, len(memory), time.monotonic() - started)
        calibration = validation[category] if uses_validation else held_out or samples
        expert.gates[category] = set_gate(expert, category, calibration, config.gate)
        log.info("%s: gate on %d images: %s", category, len(calibration), expert.gates[category])
        fitted[category] = sorted({sample.id for sample in [*samples, *calibration]})
    if isinstance(expert, PatchCore):
        expert.save(make_dir(folder), fitted)
    else:
        write_gates(folder, expert.gates)
        write_expert(folder, expert.name, {}, fitted)
    log.info("wrote %s", folder)


def normal_samples(samples: Sequence[Sample], share: float) -> dict[str, list[Sample]]:
    """Normal samples by category, evenly thinned to a share.

    Raises:
        UserError: If the share is out of range or there is no normal sample.
    """
    if not 0 < share <= 1:
        raise UserError(f"train_share must be above 0 and at most 1, not {share}.")
    normals = _by_category([sample for sample in samples if sample.is_normal])
    if not normals:
        raise UserError(f"No normal image among {len(samples)} samples. Check splits.")
    if anomalous := sum(not sample.is_normal for sample in samples):
        log.info("left out %d anomalous images: an expert is fitted on normal ones", anomalous)
    if bare := sorted({sample.category for sample in samples} - normals.keys()):
        raise UserError(f"No normal image of {', '.join(bare)} to fit on. Name the others in categories.")
    counts = {category: max(1, round(share * len(found))) for category, found in normals.items()}
    return {
        category: [found[index * len(found) // counts[category]] for index in range(counts[category])]
        for category, found in normals.items()
    }


def hold_out(samples: Sequence[Sample], config: FitExpertConfig) -> tuple[list[Sample], list[Sample]]:
    """Splits normal samples at random into those to fit on and those to set the gate on.

    Raises:
        UserError: If there are fewer than two.
    """
    if len(samples) < 2:
        raise UserError(f"Only {len(samples)} normal image of '{samples[0].category}': one to fit on, one to hold out.")
    count = min(max(1, round(config.gate.held_out * len(samples))), len(samples) - 1)
    chosen = set(random.Random(f"{config.seed} {samples[0].category}").sample(range(len(samples)), count))
    fit = [sample for index, sample in enumerate(samples) if index not in chosen]
    return fit, [samples[index] for index in sorted(chosen)]


def set_gate(
    expert: PatchCore | PrecomputedExpert, category: str, samples: Sequence[Sample], config: GateConfig
) -> Gate:
    """Thresholds of one category from calibration images."""
    maps: list[MapArray] = []
    masks: list[MaskArray] = []
    scores: list[float] = []
    for sample in samples:
        image = load_image(sample.image)
        size = image.shape[:2]
        if isinstance(expert, PatchCore):
            (anomaly_map, score), *_ = expert.score(category, [image])
        else:
            anomaly_map, score = expert.read(sample, size)
        maps.append(anomaly_map)
        scores.append(score)
        if config.method is GateMethod.f1_max:
            masks.append(load_mask(sample, size))
    if config.method is GateMethod.f1_max:
        return f1_max_gate(scores, [not sample.is_normal for sample in samples], maps, masks)
    return quantile_gate(scores, maps, config)


def _check_validation(normals: dict[str, list[Sample]], validation: dict[str, list[Sample]], needed: bool) -> None:
    if needed and (missing := sorted(normals.keys() - validation.keys())):
        raise UserError(f"No validation images of {', '.join(missing)}. Choose other validation_splits.")
    fitted = {sample.image.resolve() for samples in normals.values() for sample in samples}
    for samples in validation.values():
        for sample in samples:
            if sample.image.resolve() in fitted:
                raise UserError(f"The same image in splits and validation_splits: {sample.image}. Separate them.")


def _by_category(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.category].append(sample)
    return dict(found)


def _batches(samples: Sequence[Sample], size: int) -> Iterator[list[ImageArray]]:
    spoken = time.monotonic()
    for start in range(0, len(samples), size):
        yield [load_image(sample.image) for sample in samples[start : start + size]]
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("features: %d of %d images", min(start + size, len(samples)), len(samples))
