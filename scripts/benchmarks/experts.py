"""python -m scripts.benchmarks.experts READER ROOT [FIT_IMAGES] [TEST_IMAGES]: our PatchCore beside anomalib's.

First what the gate saves (scripts.benchmarks.gate). Then, in the same process, both PatchCores on the same prepared
images, with the same backbone, weights and size of memory: prints times, ratios, covering radii and AUROC. Needs
anomalib 2.x, in an environment of its own: it is no requirement of this project.
"""

import ctypes
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.errors import UserError
from data.sample import Sample, load_image, load_mask
from data.source import Source, load_samples
from eval.metrics.image import image_metrics
from eval.metrics.pixels import ScoredImage, pixel_metrics
from models.experts.coreset import covering_radius, select_coreset
from models.experts.patchcore import PatchCore, PatchCoreConfig
from scripts.benchmarks.gate import compare_gate, read_arguments
from scripts.command import readable_errors

CATEGORY = "benchmark"
GOALS = {"coreset": 50.0, "fit": 10.0, "inference, batch 1": 1.0, "inference, batch 8": 1.0}


@dataclass(frozen=True)
class Inputs:
    """Prepared images of both sides, (3, S, S) each."""

    fit: list[Tensor]
    test: list[Tensor]
    samples: list[Sample]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both sides and prints one table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = read_arguments(__doc__, arguments)
    with readable_errors():
        _import_anomalib()  # before anything takes time
        compare_gate(given.source, given.fit_images, given.test_images)
        compare(given.source, given.fit_images, given.test_images)


def compare(source: Source, fit_images: int, test_images: int) -> None:
    """Times both sides on a dataset.

    Raises:
        UserError: If anomalib is not installed, or the dataset has too few images.
    """
    kcenter, theirs_type = _import_anomalib()
    _return_memory()
    ours = PatchCore(PatchCoreConfig())
    inputs = prepare(ours, source, fit_images, test_images)
    share = ours.config.memory_share
    theirs = _create_anomalib(theirs_type, ours)
    print(f"threads {torch.get_num_threads()}, {len(inputs.fit)} images to fit on, {len(inputs.test)} to test on")

    features = torch.cat([_rows(ours, batch) for batch in _batches(inputs.fit, 8)])
    ratios = {"coreset": compare_coreset(kcenter, features, share)}

    fit_seconds = {}
    start = time.perf_counter()
    for batch in _batches(inputs.fit, 8):
        theirs.train()(batch)
    theirs.subsample_embedding(share)
    fit_seconds["anomalib"] = time.perf_counter() - start
    start = time.perf_counter()
    ours.fit_prepared(CATEGORY, _batches(inputs.fit, 8))
    fit_seconds["ours"] = time.perf_counter() - start
    ratios["fit"] = _print_ratio("fit", fit_seconds)
    print(f"  memory: anomalib {tuple(theirs.memory_bank.shape)}, ours {tuple(ours.memory(CATEGORY).shape)}")

    theirs.eval()
    for size in (1, 8):
        name = f"inference, batch {size}"
        ratios[name] = compare_inference(ours, theirs, inputs, size, name)
    compare_auroc(ours, theirs, inputs)
    for name, goal in GOALS.items():
        print(f"{name}: {ratios[name]:.2f} ×, goal {goal:g} ×: {'reached' if ratios[name] >= goal else 'NOT reached'}")


def prepare(ours: PatchCore, source: Source, fit_images: int, test_images: int) -> Inputs:
    """Decodes and resizes once for both sides: half of the normal images to fit on, the others to test on."""
    samples = load_samples([source]).samples
    normals = [sample for sample in samples if sample.is_normal]
    defective = [sample for sample in samples if not sample.is_normal]
    fit, test = _spread(normals[::2], fit_images), _spread(normals[1::2], test_images // 2)
    test += _spread(defective, test_images - len(test))
    if not fit or not test or not defective:
        raise UserError(f"Too few images in {source.root}: {len(normals)} normal, {len(defective)} anomalous.")

    def load(chosen: Sequence[Sample]) -> list[Tensor]:
        return [ours.backbone.prepare([load_image(sample.image)])[0] for sample in chosen]

    return Inputs(load(fit), load(test), test)


def compare_coreset(kcenter: Any, features: Tensor, share: float) -> float:
    """Anomalib's selection against ours in the same projected space, from the same first pick."""
    sampler = kcenter(embedding=features, sampling_ratio=share)
    torch.manual_seed(0)
    start = time.perf_counter()
    theirs = sampler.select_coreset_idxs()  # projects, then picks
    seconds = {"anomalib": time.perf_counter() - start}
    start = time.perf_counter()
    space = sampler.model.transform(features)
    ours = select_coreset(space, len(theirs), start=theirs[0])
    seconds["ours"] = time.perf_counter() - start
    print(f"coreset: {len(theirs)} of {len(features)} patches in {space.shape[1]} dimensions")
    same = len(set(theirs) & set(ours.tolist()))
    radii = [covering_radius(space, torch.as_tensor(picks)) for picks in (theirs, ours)]
    print(f"  covering radius: anomalib {radii[0]:.5f}, ours {radii[1]:.5f}; {same} picks in common")
    return _print_ratio("coreset", seconds)


def compare_inference(ours: PatchCore, theirs: Any, inputs: Inputs, size: int, name: str) -> float:
    """Scores and maps of all test images; the sides take turns, the best of three rounds counts."""
    batches = list(_batches(inputs.test, size))
    sides: dict[str, Callable[[Tensor], object]] = {"anomalib": theirs, "ours": lambda batch: _ours(ours, batch)}
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(3):
        for side, run in sides.items():
            start = time.perf_counter()
            with torch.inference_mode():
                for batch in batches:
                    run(batch)
            best[side] = min(best[side], time.perf_counter() - start)
    return _print_ratio(name, {side: seconds / len(inputs.test) for side, seconds in best.items()})


def compare_auroc(ours: PatchCore, theirs: Any, inputs: Inputs) -> None:
    """Image AUROC, and pixel AUROC at the backbone's size: each side with its own memory, then both with ours.

    Two coresets differ by their random first pick and projection; with one memory only the scoring can differ.
    """

    def anomalib(batch: Tensor) -> tuple[list[np.ndarray], np.ndarray]:
        with torch.inference_mode():
            result = theirs(batch)
        return [grid.numpy() for grid in result.anomaly_map[:, 0]], result.pred_score.numpy().ravel()

    _print_auroc("anomalib", anomalib, ours, inputs)
    _print_auroc("ours", lambda batch: _ours(ours, batch), ours, inputs)
    theirs.memory_bank = ours.memory(CATEGORY)
    _print_auroc("anomalib with our memory", anomalib, ours, inputs)


def _print_auroc(
    name: str, run: Callable[[Tensor], tuple[list[np.ndarray], np.ndarray]], ours: PatchCore, inputs: Inputs
) -> None:
    scores: list[float] = []
    scored: list[ScoredImage] = []
    for batch in _batches(inputs.test, 8):
        maps, values = run(batch)
        for anomaly_map, value in zip(maps, values, strict=True):
            sample = inputs.samples[len(scores)]
            scored.append(ScoredImage(sample.id, anomaly_map, _mask(sample, ours.config.backbone.image_size)))
            scores.append(float(value))
    image = image_metrics(scores, [not sample.is_normal for sample in inputs.samples]).auroc
    pixel = pixel_metrics(scored).auroc
    shown = ["–" if value is None else f"{100 * value:.2f}" for value in (image, pixel)]
    print(f"AUROC {name}: image {shown[0]}, pixel {shown[1]}", flush=True)


def _ours(ours: PatchCore, batch: Tensor) -> tuple[list[np.ndarray], np.ndarray]:
    size = ours.config.backbone.image_size
    grids, scores = ours.score_batch(CATEGORY, batch)
    return [ours.enlarge(grid, (size, size)) for grid in grids], scores


def _return_memory() -> None:
    """Lets glibc hand large arrays back at once.

    Anomalib keeps one small tensor a pick, made between two arrays as large as the features: left alone, glibc's heap
    fragments and grows by one such array a pick, some 20 GB at 16 images.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD


def _import_anomalib() -> tuple[Any, Any]:
    try:
        from anomalib.models.components import KCenterGreedy
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    except ImportError as error:
        raise UserError(
            "anomalib is not installed, and there is nothing to compare with. Make an environment for this benchmark "
            f"alone: pip install -r requirements.txt 'anomalib==2.7.0' ({error})"
        ) from error
    return KCenterGreedy, PatchcoreModel


def _create_anomalib(model_type: Any, ours: PatchCore) -> Any:
    """Anomalib's PatchCore with our backbone's weights and layers."""
    names = ours.backbone.model.feature_info.module_name()  # type: ignore[operator, union-attr]
    theirs = model_type(layers=names, backbone=ours.config.backbone.name, pre_trained=False)
    theirs.feature_extractor.feature_extractor.load_state_dict(ours.backbone.model.state_dict())
    return theirs


def _rows(ours: PatchCore, batch: Tensor) -> Tensor:
    patches = ours.backbone.patches(batch)
    return patches.permute(0, 2, 3, 1).reshape(-1, patches.shape[1])


def _batches(images: Sequence[Tensor], size: int) -> list[Tensor]:
    return [torch.stack(list(images[start : start + size])) for start in range(0, len(images), size)]


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    count = min(count, len(samples))
    return [samples[index * len(samples) // count] for index in range(count)]


def _mask(sample: Sample, size: int) -> np.ndarray:
    mask = load_mask(sample, load_image(sample.image).shape[:2])
    rows, columns = (np.arange(size) * side // size for side in mask.shape)
    return mask[rows][:, columns]


def _print_ratio(name: str, seconds: dict[str, float]) -> float:
    ratio = seconds["anomalib"] / seconds["ours"]
    print(f"{name}: anomalib {seconds['anomalib']:.4f} s, ours {seconds['ours']:.4f} s: {ratio:.2f} ×", flush=True)
    return ratio


if __name__ == "__main__":
    main()
