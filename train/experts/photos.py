"""From a folder of photos to a fitted and calibrated expert: finds the layout, checks, splits, fits, calibrates.

Where there are enough sound photos, some are held out for the threshold. Where there are not, the threshold comes from
cross-validation: the photos are shared out over `folds`, each is scored by an expert that was fitted on the other
folds, and the expert that is kept was fitted on all. The jackknife+ and CV+ of Barber et al. (2021) keep all fits; here
one is kept, so that looking at a photo costs one look, and the promise is exact only as far as the fits score alike.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.content import hash_files
from data.doctor.recognise import recognise
from data.errors import UserError
from data.parallel import map_threads
from data.readers.photos import DATASET
from data.sample import Sample, load_image, load_mask
from data.source import Listing, Source, load_samples
from eval.calibration.conformal import images_needed, rate_supported, split_folds, threshold_at
from eval.calibration.file import Calibration, Method, calibration_path, write_calibration
from eval.calibration.make import Scores, make_calibration
from eval.metrics.image import image_metrics
from eval.segmentation.expert import identify_expert
from models.experts.expert import Gate, MapArray
from models.experts.gate import quantile_gate, thin_map
from models.experts.store import replacing_expert, write_fitted
from train.experts.fitting import FitExpertConfig, Fitting, prepare_fitting
from train.experts.judged import join_judged

log = logging.getLogger(__name__)
FEWEST = 5  # sound photos that an expert is fitted on
NAMED = 5  # files that a message names
HOLD_OUT_FROM = 4  # times the photos that a rate needs: with fewer, holding them out would leave too few to fit on


@dataclass(slots=True)
class Product:
    """The photos of one product, checked: each file decodes, none is there twice.

    Attributes:
        sound: Sound ones, to fit and calibrate on.
        defective: Defective ones, to see what is found; may be empty.
    """

    sound: list[Sample] = field(default_factory=list)
    defective: list[Sample] = field(default_factory=list)

    @property
    def masked(self) -> int:
        """How many defective photos have a mask."""
        return sum(sample.mask is not None for sample in self.defective)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known about a product when its expert is fitted.

    Attributes:
        calibration: Threshold and what it stands for.
        auroc: Image AUROC of defective photos against sound ones that the fit had not seen; None without defects.
        placed: Of the defective photos with a mask, how many have the peak of their map inside it.
    """

    calibration: Calibration
    auroc: float | None
    placed: int


def fit_photos(config: FitExpertConfig) -> None:
    """Fits and calibrates an expert on a folder of photos, and prints what to expect.

    Raises:
        UserError: If no layout is found, a photo does not decode or is both sound and defective, or there are too few.
    """
    _check_settings(config)
    products = find_photos(config)
    for category, product in products.items():
        print(_tell_photos(category, product), flush=True)
    folder = Path(config.out)
    fitting = prepare_fitting(config, folder)
    if fitting.learn is None:
        raise UserError(f"images= fits an expert, and there is nothing to fit of '{config.expert}'. Choose another.")
    scored = {category: _fit(fitting, category, product, config) for category, product in products.items()}
    gates = {category: scored[category].gate(_rate(config, product), config) for category, product in products.items()}
    fitted = {category: [sample.id for sample in product.sound] for category, product in products.items()}
    with replacing_expert(folder) as work:
        fitting.save(work, gates, fitted)
        write_fitted(work, [sample.image for product in products.values() for sample in product.sound])
    for category, product in products.items():
        outcome = _calibrate(category, product, scored[category], config, folder)
        path = calibration_path(folder, category if len(products) > 1 else "")
        write_calibration(path, outcome.calibration)
        print(_tell_outcome(category, product, outcome, config.false_alarms), flush=True)
    which = "" if len(products) == 1 else f" category={next(iter(products))}"
    who = f"expert={config.expert} expert_dir={folder}{which}"
    print(f"Next, new photos: python -m scripts.inspect images=NEW {who} out=DIR", flush=True)


def find_photos(config: FitExpertConfig) -> dict[str, Product]:
    """The photos by product, checked.

    Raises:
        UserError: As `fit_photos` does.
    """
    listed = load_samples([_find_source(config)]) if config.images else Listing([], [])
    for sample_id, reason in listed.skipped[:NAMED]:
        log.info("left out: %s %s", sample_id, reason)
    products: dict[str, Product] = defaultdict(Product)
    for sample in join_judged(listed.samples, config) if config.judgements else listed.samples:
        product = products[sample.category]
        (product.sound if sample.is_normal else product.defective).append(sample)
    for product in products.values():
        training = [sample for sample in product.sound if sample.split == "train"]
        if len(training) >= images_needed(config.false_alarms):  # the others stay unseen, for an evaluation
            product.sound = training
    for category, product in products.items():
        _check(category, product)
    return dict(sorted(products.items()))


def _find_source(config: FitExpertConfig) -> Source:
    root = Path(config.images)
    if config.good:
        return Source(reader=DATASET, root=config.images, options={"good": config.good}, categories=config.categories)
    own = recognise(root, "folder")  # a product alone, even if it is a part of a dataset
    found = own if own.root == root.absolute() and not own.problems else recognise(root)
    stops = [item for item in found.problems if item.code != "wrong-case"]
    if found.reader is None or (stops and not found.root.is_relative_to(root.absolute())):
        first = stops[0]
        raise UserError(f"{first.file}: {first.message} {first.fix}")
    log.info("%s: %s", found.root, found.title)
    return Source(reader=found.reader, root=str(found.root), categories=config.categories)


def _check(category: str, product: Product) -> None:
    """Looks at every photo before anything is fitted; leaves out copies, which would be scored by their twins."""
    samples = [*product.sound, *product.defective]

    def fault(sample: Sample) -> str:
        try:
            image = load_image(sample.image)
            if sample.mask is not None:
                load_mask(sample, image.shape[:2])
        except UserError as error:
            return str(error)
        return ""

    if faults := [text for text in map_threads(fault, samples, workers=2) if text]:
        more = f" … and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise UserError(f"{len(faults)} of {len(samples)} photos cannot be used: {' '.join(faults[:NAMED])}{more}")
    hashes = hash_files(sample.image for sample in samples)
    sound = {hashes[sample.image]: sample for sample in reversed(product.sound)}
    for sample in product.defective:
        if twin := sound.get(hashes[sample.image]):
            raise UserError(f"One photo is sound and defective: {twin.image} and {sample.image}. Remove one of them.")
    if copies := len(product.sound) - len(sound):
        log.warning("%s: left out %d copies of sound photos; each counts once", category, copies)
        product.sound = [sample for sample in product.sound if sound[hashes[sample.image]] is sample]
    if len(product.sound) < FEWEST:
        raise UserError(
            f"Only {len(product.sound)} sound photos of '{category}'. Take at least {FEWEST}; a threshold at 5 % false "
            f"alarms needs {images_needed(0.05)}."
        )


@dataclass(slots=True)
class _Scored:
    """What the fits said about sound photos that they had not seen."""

    method: Method
    sound: Scores = field(default_factory=Scores)
    maps: list[MapArray] = field(default_factory=list)
    defective: list[float] = field(default_factory=list)
    placed: int = 0

    def add(self, anomaly_map: MapArray, score: float) -> None:
        self.sound.add(score, float(anomaly_map.max()))
        self.maps.append(thin_map(anomaly_map))

    def gate(self, rate: float, config: FitExpertConfig) -> Gate:
        pixel = quantile_gate(self.sound.images, self.maps, config.gate).pixel
        return Gate(threshold_at(self.sound.images, rate), pixel)


def _fit(fitting: Fitting, category: str, product: Product, config: FitExpertConfig) -> _Scored:
    """Fits a product's expert, and scores sound photos that the scoring fit had not seen, and the defective ones."""
    learn = fitting.learn
    assert learn is not None
    sound = product.sound
    held = _hold_out(len(sound), _rate(config, product), config)
    found = _Scored(Method.held_out if held else Method.cross_validation)
    folds = [held] if held else split_folds(len(sound), config.folds, config.seed)
    for number, fold in enumerate(folds, 1):
        rest = [sample for index, sample in enumerate(sound) if index not in set(fold)]
        log.info("%s: fit %d of %d on %d photos", category, number, len(folds) + (not held), len(rest))
        learn(category, rest)
        for index in fold:
            found.add(*fitting.score(sound[index], load_image(sound[index].image)))
    if not held:
        log.info("%s: fit %d of %d on all %d photos", category, len(folds) + 1, len(folds) + 1, len(sound))
        learn(category, sound)
    for sample in product.defective:
        image = load_image(sample.image)
        anomaly_map, score = fitting.score(sample, image)
        found.defective.append(score)
        if sample.mask is not None:
            peak = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
            found.placed += bool(load_mask(sample, image.shape[:2])[peak])
    return found


def _hold_out(count: int, rate: float, config: FitExpertConfig) -> list[int]:
    """Indices of the photos that are held out; none where they are too few, so that it takes cross-validation."""
    needed = images_needed(rate)
    if count < HOLD_OUT_FROM * needed:
        return []
    kept = max(needed, round(config.gate.held_out * count))
    return sorted(random.Random(config.seed).sample(range(count), kept))


def _rate(config: FitExpertConfig, product: Product) -> float:
    """The rate that is asked for, or the smallest one that the photos support."""
    return max(config.false_alarms, rate_supported(len(product.sound)))


def _calibrate(category: str, product: Product, scored: _Scored, config: FitExpertConfig, folder: Path) -> Outcome:
    calibration = make_calibration(
        scored.sound,
        scored.defective,
        rate=_rate(config, product),
        model=identify_expert(config.expert, str(folder), category),
        category=category,
        method=scored.method,
        seed=config.seed,
    )
    truth = [False] * len(scored.sound.images) + [True] * len(scored.defective)
    figures = image_metrics([*scored.sound.images, *scored.defective], truth)
    return Outcome(calibration, figures.auroc, scored.placed)


def _tell_photos(category: str, product: Product) -> str:
    kinds: dict[str, int] = defaultdict(int)
    for sample in product.defective:
        kinds[str(sample.defect)] += 1
    listed = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
    defects = f"{len(product.defective)} defective ones ({listed})" if kinds else "no defective ones"
    return f"{category}: {len(product.sound)} sound photos, {defects}"


def _tell_outcome(category: str, product: Product, outcome: Outcome, wanted: float) -> str:
    told = f"{category}: {outcome.calibration.describe()}"
    if outcome.calibration.false_alarms > wanted:
        needed, count = images_needed(wanted), len(product.sound)
        told += f" (false_alarms={wanted:g} needs {needed} sound photos; there are {count}, so this is the least.)"
    if outcome.auroc is not None:
        told += f" Image AUROC {100 * outcome.auroc:.1f} %."
    if product.masked:
        told += f" Of {product.masked} photos with a mask, {outcome.placed} have the peak of their map inside it."
    elif product.defective:
        told += " There are no masks, so the figures are of whole images only."
    return told


def _check_settings(config: FitExpertConfig) -> None:
    """Refuses settings that belong to a dataset, and values that make no sense."""
    if given := [name for name in ("dataset", "data_root", "validation_splits") if getattr(config, name)]:
        raise UserError(f"images= and judgements= say by themselves what is sound; leave out {', '.join(given)}.")
    if not 0 < config.false_alarms < 1:
        raise UserError(f"false_alarms={config.false_alarms} must be between 0 and 1, for example 0.05 for 5 %.")
    if config.folds < 2:
        raise UserError(f"folds={config.folds} must be at least 2.")
