"""python -m scripts.benchmarks.ddad RUN [--categories NAME …] [--seeds 3] [--normals 24]: DDAD beside PatchCore.

Fits both, with their default sizes, for each category of RUN/data/unseen and each seed, on sound photos that are drawn
anew from the factory (`--normals 0`: on the few of the run), and tests them on its test photos. Prints image and pixel
AUROC and CPU seconds of each fit, seed by seed, so that a run that is cut short has whole seeds; then their means over
the seeds, and what the draws of a map cost. Exits 1 if a goal is missed.
Another dataset: --reader magnetic_tile --root DIR, where half of the sound photos are fitted on. --tested N: only N of
the photos of each kind, evenly spread, are tested on.
"""

import argparse
import logging
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.factory.catalog import PRODUCTS
from data.factory.piece import make_normal
from data.sample import ImageArray, Sample, load_image, load_mask
from data.source import Source, load_samples
from eval.metrics.image import image_metrics
from eval.metrics.pixels import pixel_metrics
from eval.metrics.scores import ScoredImage
from models.experts.ddad import DDAD, DDADConfig
from models.experts.expert import MapArray
from models.experts.patchcore import PatchCore, PatchCoreConfig
from scripts.command import readable_errors
from train.experts.ddad import DDADTrainConfig, train_ddad

GOALS = {"image": 0.85, "pixel": 0.92, "seconds": 180.0, "draws": 4.0}
LEAST = 4  # sound photos to fit on


@dataclass(frozen=True)
class Figures:
    """One expert on one category: AUROCs in 0..1, and CPU seconds of the fit and of all test images."""

    image: float
    pixel: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs all categories and prints the table."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="")
    parser.add_argument("--categories", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--normals", type=int, default=24)
    parser.add_argument("--tested", type=int, default=0)
    parser.add_argument("--reader", default="mvtec_ad")
    parser.add_argument("--root", default="")
    given = parser.parse_args(arguments)
    with readable_errors():
        if bool(given.run) == bool(given.root):
            raise UserError("Give a run, or --reader NAME --root DIR of a dataset.")
        root = given.root or str(Path(given.run) / "data" / "unseen")
        source = Source(reader=given.reader, root=root, categories=given.categories, skip_empty_masks=True)
        normals = 0 if given.root else given.normals
        if not compare(source, range(given.seeds), normals, DDADConfig(), DDADTrainConfig(), tested=given.tested):
            sys.exit(1)


def compare(
    source: Source,
    seeds: Sequence[int],
    normals: int,
    config: DDADConfig,
    training: DDADTrainConfig,
    *,
    tested: int = 0,
) -> bool:
    """Prints the table; whether all goals are reached.

    Args:
        source: The dataset.
        seeds: Of drawing, fitting and noise.
        normals: Sound photos that are drawn from the factory to fit on; 0 takes those of the dataset.
        config: Of DDAD.
        training: Of DDAD.
        tested: Photos of each kind to test on, evenly spread; 0 tests on all.

    Raises:
        UserError: If a category has too few photos, or is no product of the factory.
    """
    samples = load_samples([source]).samples
    categories = sorted({sample.category for sample in samples})
    photos = {
        category: split([sample for sample in samples if sample.category == category], drawn=normals > 0)
        for category in categories
    }
    found: dict[str, list[tuple[Figures, Figures]]] = {category: [] for category in categories}
    heads = (
        f"{title:>{width}} {'pixel':>6} {'CPU s':>6}" for title, width in (("DDAD image", 10), ("PatchCore image", 15))
    )
    print(f"{'category':16} {'   '.join(heads)}")
    for seed in seeds:
        print(f"seed {seed}")
        for category, (fit, all_tested) in photos.items():
            kinds = [[one for one in all_tested if one.is_normal is normal] for normal in (True, False)]
            test = [one for kind in kinds for one in spread(kind, tested)]
            images = draw(category, normals, seed) if normals else [load_image(sample.image) for sample in fit]
            ddad = look(*_ddad(config, training, category, images, seed), test)
            found[category].append((ddad, look(*_patchcore(category, images, seed), test)))
            print(_row(category, *found[category][-1]), flush=True)
    means = [(_mean([one for one, _ in pairs]), _mean([other for _, other in pairs])) for pairs in found.values()]
    total, beside = (_mean(column) for column in zip(*means, strict=True))
    slowest = max(ddad.seconds for ddad, _ in means)
    print("all seeds")
    for category, pair in zip(categories, means, strict=True):
        print(_row(category, *pair))
    print(_row("mean", total, beside))
    print(f"means of {len(seeds)} seeds; fitted on {f'{normals} drawn' if normals else 'the sound'} photos a category")
    ratio = cost_of_draws(config)
    print(f"{config.draws} draws cost {ratio:.1f} × one, image by image")
    reached = {
        "image": total.image >= GOALS["image"],
        "pixel": total.pixel >= GOALS["pixel"],
        "seconds": slowest <= GOALS["seconds"],
        "draws": ratio < GOALS["draws"],
    }
    for name, goal in GOALS.items():
        print(f"goal {name} {goal:g}: {'reached' if reached[name] else 'NOT reached'}")
    return all(reached.values())


def split(samples: Sequence[Sample], *, drawn: bool) -> tuple[list[Sample], list[Sample]]:
    """Sound photos to fit on, and photos to test on: by the dataset's splits, else every other sound photo.

    Raises:
        UserError: If there are too few.
    """
    normal = [sample for sample in samples if sample.is_normal]
    fit = [sample for sample in normal if sample.split == "train"] or normal[::2]
    chosen = {sample.id for sample in fit}
    test = [
        sample for sample in samples if (sample.id not in chosen and sample.split != "train") or not sample.is_normal
    ]
    kinds = {sample.is_normal for sample in test}
    if len(kinds) < 2 or (not drawn and len(fit) < LEAST):
        name = samples[0].category
        raise UserError(f"'{name}' has too few photos: {len(fit)} sound ones to fit on, {len(test)} to test on.")
    return fit, test


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many samples, evenly spread over the list; all where `most` is 0."""
    if not most or len(samples) <= most:
        return list(samples)
    return [samples[index * len(samples) // most] for index in range(most)]


def draw(category: str, count: int, seed: int) -> list[ImageArray]:
    """Sound photos of a product of the factory, which are in no run.

    Raises:
        UserError: If the factory does not make it.
    """
    if category not in PRODUCTS:
        raise UserError(f"The factory makes no '{category}'. Give --normals 0.")
    rng = np.random.default_rng([zlib.crc32(b"benchmarks.ddad"), zlib.crc32(category.encode()), seed])
    return [make_normal(rng, PRODUCTS[category], 256).image for _ in range(count)]


Scorer = Callable[[Sequence[ImageArray]], Sequence[tuple[MapArray, float]]]


def look(scorer: Scorer, spent: float, test: Sequence[Sample]) -> Figures:
    """Scores the test photos."""
    started = time.process_time()
    images = [load_image(sample.image) for sample in test]
    scored = scorer(images)
    spent += time.process_time() - started
    masks = [load_mask(sample, image.shape[:2]) for sample, image in zip(test, images, strict=True)]
    pixels = [ScoredImage(sample.id, found, mask) for sample, (found, _), mask in zip(test, scored, masks, strict=True)]
    image = image_metrics([score for _, score in scored], [not sample.is_normal for sample in test]).auroc
    pixel = pixel_metrics(pixels).auroc
    assert image is not None and pixel is not None, "there are photos of both kinds"
    return Figures(image, pixel, spent)


def cost_of_draws(config: DDADConfig, repeats: int = 5) -> float:
    """Seconds of a map of all draws over those of a map of one, by image, with untrained weights; the best counts."""
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    seconds = []
    for draws in (1, config.draws):
        expert = DDAD(replace(config, draws=draws))
        model = expert.new_model()
        model.denoiser.eval()
        expert.models["benchmark"] = model
        times = []
        for _ in range(repeats):
            started = time.process_time()
            expert.score("benchmark", [image])
            times.append(time.process_time() - started)
        seconds.append(min(times))
    return seconds[1] / seconds[0]


def _ddad(
    config: DDADConfig, training: DDADTrainConfig, category: str, images: Sequence[ImageArray], seed: int
) -> tuple[Scorer, float]:
    started = time.process_time()
    expert = DDAD(replace(config, seed=seed))
    train_ddad(expert, category, images, replace(training, seed=seed))
    return lambda test: expert.score(category, test), time.process_time() - started


def _patchcore(category: str, images: Sequence[ImageArray], seed: int) -> tuple[Scorer, float]:
    started = time.process_time()
    expert = PatchCore(PatchCoreConfig(seed=seed))
    expert.fit(category, [images])
    return lambda test: expert.score(category, test), time.process_time() - started


def _mean(figures: Sequence[Figures]) -> Figures:
    values = np.mean([[each.image, each.pixel, each.seconds] for each in figures], 0)
    return Figures(*(float(value) for value in values))


def _row(name: str, ddad: Figures, patchcore: Figures) -> str:
    first, second = (
        f"{100 * each.image:{width}.1f} {100 * each.pixel:6.1f} {each.seconds:6.0f}"
        for each, width in ((ddad, 10), (patchcore, 15))
    )
    return f"{name:16} {first}   {second}"


if __name__ == "__main__":
    main()
