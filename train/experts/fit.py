"""Fits a vision expert on normal images and sets its gate on images that the fit has not seen."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.image_size import read_size
from data.processes.lock import held
from data.sample import MaskArray, Sample, load_image, load_mask
from eval.classification.config import ClassificationConfig
from eval.classification.evaluate import check_dataset
from models.experts.expert import Gate, MapArray
from models.experts.gate import GateConfig, GateMethod, f1_max_gate, quantile_gate
from models.experts.load import ExpertName, parse_expert
from models.experts.store import GATE, replacing_expert, write_fitted
from train.experts.fitting import FitExpertConfig, Fitting, prepare_fitting
from train.experts.photos import fit_photos

log = logging.getLogger(__name__)


def fit_expert(config: FitExpertConfig) -> None:
    """Fits every category of the data, or of a folder of photos, and writes the expert.

    Raises:
        UserError: If there is nothing to fit, too little to hold out, the gate's data does not suit its method, or
            another process writes there.
    """
    if parse_expert(config.expert)[0] is ExpertName.oracle:
        raise UserError("The oracle has nothing to fit. Fit another expert.")
    if config.images or config.judgements:
        with held(Path(config.out)):
            fit_photos(config)
        return
    if not config.dataset or not config.data_root:
        raise UserError("Give images=FOLDER of your own photos, judgements=LOG, or dataset=READER data_root=DIR.")
    uses_validation = config.gate.method is GateMethod.f1_max
    if uses_validation != bool(config.validation_splits):
        what = "needs validation_splits" if uses_validation else "takes no validation_splits; leave them out"
        raise UserError(f"gate.method={config.gate.method.value} {what}.")
    with held(Path(config.out)):
        _fit(config, Path(config.out), uses_validation)


def _fit(config: FitExpertConfig, folder: Path, uses_validation: bool) -> None:
    normals = normal_samples(config.samples(config.splits), config.train_share)
    validation = _by_category(config.samples(config.validation_splits)) if uses_validation else {}
    _check_validation(normals, validation, uses_validation)
    fitting = prepare_fitting(config, folder)
    gates: dict[str, Gate] = {}
    fitted = {}
    used: list[Path] = []
    for category, samples in normals.items():
        holds_out = fitting.learn is not None and not uses_validation
        fit, held_out = hold_out(samples, config) if holds_out or config.shots else (samples, [])
        if fitting.learn is not None:
            started = time.monotonic()
            log.info("%s: fitting on %d normal images", category, len(fit))
            fitting.learn(category, fit)
            log.info("%s: fitted in %.1f s", category, time.monotonic() - started)
        calibration = validation[category] if uses_validation else held_out or samples
        gates[category] = set_gate(fitting, calibration, config.gate)
        log.info("%s: gate on %d images: %s", category, len(calibration), gates[category])
        used += [sample.image for sample in (*samples, *calibration)]
        fitted[category] = sorted({sample.id for sample in [*samples, *calibration]})
    with replacing_expert(folder) as work:
        fitting.save(work, gates, fitted)
        write_fitted(work, used)
    log.info("wrote %s", folder)


def fit_missing_expert(config: ClassificationConfig) -> None:
    """Fits the expert of a pipeline on the dataset's training split, with the default sizes, if `OUT/expert` lacks it.

    An expert that is named by `expert_dir`, or that needs more than normal images, is never fitted here.
    """
    if config.predictions or not config.expert or config.expert_dir:
        return
    folder = Path(config.out) / "expert"
    kind, _ = parse_expert(config.expert)
    if (
        kind not in (ExpertName.patchcore, ExpertName.ddad, ExpertName.anomalib, ExpertName.own)
        or (folder / GATE).is_file()
    ):
        return
    check_dataset(config)
    log.info("no expert at %s: fitting it on the training split", folder)
    fit_expert(
        FitExpertConfig(
            expert=config.expert,
            dataset=config.dataset,
            data_root=config.data_root,
            categories=config.categories,
            out=str(folder),
            seed=config.seed,
            device=config.device,
        )
    )


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
    if config.shots:
        return draw_shots(samples, config)
    count = min(max(1, round(config.gate.held_out * len(samples))), len(samples) - 1)
    chosen = set(random.Random(f"{config.seed} {samples[0].category}").sample(range(len(samples)), count))
    fit = [sample for index, sample in enumerate(samples) if index not in chosen]
    return fit, [samples[index] for index in sorted(chosen)]


def draw_shots(samples: Sequence[Sample], config: FitExpertConfig) -> tuple[list[Sample], list[Sample]]:
    """The shots of a category, and as many of the other normal images as the gate is set on.

    Raises:
        UserError: If there are not more normal images than shots.
    """
    if not 0 < config.shots < len(samples):
        raise UserError(
            f"shots={config.shots} of '{samples[0].category}' must be at least 1 and fewer than its {len(samples)} "
            "normal images, of which one at least sets the gate."
        )
    order = list(samples)
    random.Random(f"{config.seed} {samples[0].category}").shuffle(order)
    count = max(1, round(config.gate.held_out * len(samples)))
    return order[: config.shots], order[config.shots :][:count]


def set_gate(fitting: Fitting, samples: Sequence[Sample], config: GateConfig) -> Gate:
    """Thresholds of one category from calibration images."""
    maps: list[MapArray] = []
    masks: list[MaskArray] = []
    scores: list[float] = []
    for sample in samples:
        image = load_image(sample.image)
        anomaly_map, score = fitting.score(sample, image)
        maps.append(anomaly_map)
        scores.append(score)
        if config.method is GateMethod.f1_max:
            masks.append(load_mask(sample, image.shape[:2]))
    if config.method is GateMethod.f1_max:
        return f1_max_gate(scores, [not sample.is_normal for sample in samples], maps, masks)
    return quantile_gate(scores, maps, config)


def _check_validation(normals: dict[str, list[Sample]], validation: dict[str, list[Sample]], needed: bool) -> None:
    if needed and (missing := sorted(normals.keys() - validation.keys())):
        raise UserError(f"No validation images of {', '.join(missing)}. Choose other validation_splits.")
    fitted = {sample.image.resolve() for samples in normals.values() for sample in samples}
    for samples in validation.values():
        for sample in samples:
            load_mask(sample, read_size(sample.image))  # an unusable one is found now, not after the fit
            if sample.image.resolve() in fitted:
                raise UserError(f"The same image in splits and validation_splits: {sample.image}. Separate them.")


def _by_category(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.category].append(sample)
    return dict(found)
