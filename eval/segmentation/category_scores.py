"""Metrics in percent per category, and their mean: what every segmentation evaluation ends with.

The exact engine gives whole categories to the ranks. The streaming one gives images to them: each rank counts its
share of every category, saves its counts now and then so that a cut-off run goes on, and the counts are added up.
Both give the same figures, bit for bit, however many ranks there are. Beside the figures go the counts of each image
(`eval.gains`), from which it can be told later whether a difference to another evaluation is more than chance.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.files import hash_value
from data.parallel import map_threads
from data.ranks import Ranks
from data.sample import Sample
from eval.conventions.figures import ExtraFigures, extra_pixels, object_figures
from eval.gains.tally import Counted, Tally, count_image, stack_counts
from eval.gains.tally_file import read_noted, write_tallies
from eval.metrics.figures import mean_known, percent
from eval.metrics.histogram import PixelHistogram
from eval.metrics.histogram_state import load_histogram, pack_histogram, save_histogram, unpack_histogram
from eval.metrics.image import image_metrics
from eval.metrics.pixels import Engine, PixelMetrics, pixel_metrics, read_histogram
from eval.metrics.ranking import RankingMetrics
from eval.metrics.scores import ScoredImage

log = logging.getLogger(__name__)

METRICS = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro", "image_auroc", "image_ap", "image_f1_max")
HELD_PIXELS = 1 << 25  # a category of no more pixels is decoded once and held: about 170 MB
SAVE_EVERY = 200  # images between two saves of a rank's counts

NO_MASKS = "defective images without a mask: image metrics only"

LoadScored = Callable[[Sample], ScoredImage]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """How maps become figures.

    Attributes:
        engine: Exact or streaming.
        aupro_limit: Upper limit of the false-positive rate in AUPRO.
        iou_threshold: Also the IoU at this threshold; None leaves it out.
        extra: The figures that a convention adds; those of pixels need the exact engine.
        state: Folder for the counts of the streaming engine; None keeps none.
        tallies: File for the counts of each image; None counts none.
        bins: Bins of those.
        workers: Threads that decode maps and masks.
    """

    engine: Engine = Engine.exact
    aupro_limit: float
    iou_threshold: float | None = None
    extra: ExtraFigures = field(default_factory=ExtraFigures)
    state: Path | None = None
    tallies: Path | None = None
    bins: int = 256
    workers: int = 1

    @property
    def cuts(self) -> int:
        """Scores that cut the pixels of a category into bins; 0 where single images are not counted."""
        return self.bins - 1 if self.tallies is not None else 0


@dataclass(frozen=True, slots=True)
class LazyImages:
    """The scored images of some samples in any order, decoded when they are first reached and held while few.

    Attributes:
        samples: The samples.
        load: Decodes map and mask of a sample.
        workers: Threads that decode.
        room: Pixels that are held; further images are decoded on each iteration.
    """

    samples: Sequence[Sample]
    load: LoadScored = field(repr=False)
    workers: int = 1
    room: int = HELD_PIXELS
    _held: dict[str, ScoredImage] = field(default_factory=dict, repr=False)

    def __iter__(self) -> Iterator[ScoredImage]:
        """Yields one image at a time."""
        yield from (image for _, image in self.items())

    def items(self) -> Iterator[tuple[str, ScoredImage]]:
        """Yields one sample id and its image at a time."""
        used = sum(image.mask.size for image in self._held.values())
        yield from self._held.items()
        for sample, image in _load_ahead([s for s in self.samples if s.id not in self._held], self.load, self.workers):
            if used + image.mask.size <= self.room:
                self._held[sample.id] = image
                used += image.mask.size
            yield sample.id, image


def score_categories(
    samples: Sequence[Sample],
    scores: Mapping[str, float],
    keys: Mapping[str, str],
    load: LoadScored,
    settings: ScoreSettings,
    ranks: Ranks,
) -> dict[str, Any]:
    """Metrics in percent per category, and their mean over the categories that have a value.

    Args:
        samples: What is scored.
        scores: Sample id → image score.
        keys: Sample id → hash of what the counts of its pixels depend on: map, mask, resolution. Only the streaming
            engine needs them.
        load: Decodes map and mask of a sample.
        settings: Engine and limits.
        ranks: Who shares the work; all get the result.

    Returns:
        `mean`, `categories`, `undefined` (category → metric group → reason), `images`.
    """
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        members[sample.category].append(sample)
    names = sorted(members)
    bare = {sample.category for sample in samples if not sample.is_normal and sample.mask is None}
    scored = [name for name in names if name not in bare]
    counted: dict[str, dict[str, Counted]] = {}
    if settings.engine is Engine.exact:
        mine = {name: _exact(members[name], load, settings) for name in _progress(ranks.share(scored), ranks)}
        both = {name: found for part in ranks.gather(mine) for name, found in part.items()}
        pixels = {name: found for name, (found, _, _) in both.items()}
        counted = {name: found for name, (_, found, _) in both.items()}
        extra = {name: added for name, (_, _, added) in both.items()}
    else:
        extra = {}
        pixels = {name: _stream(members[name], keys, load, settings, ranks) for name in _progress(scored, ranks)}
    categories: dict[str, dict[str, Any]] = {}
    undefined: dict[str, dict[str, str]] = {}
    for name in names:
        if name in bare:
            count = len(members[name])
            pixels[name] = PixelMetrics(reason=NO_MASKS, brackets={}, defect_pixels=0, pixels=0, images=count)
        images = image_metrics([scores[s.id] for s in members[name]], [not s.is_normal for s in members[name]])
        categories[name] = _figures(pixels[name], images, settings)
        added = dict.fromkeys(settings.extra.names) | extra.get(name, {})
        if settings.extra.per_object:
            added |= object_figures(members[name], scores)
        categories[name] |= {figure: percent(value) for figure, value in added.items()}
        categories[name] |= {"images": len(members[name]), "normal": sum(s.is_normal for s in members[name])}
        reasons = {"pixel": pixels[name].reason, "image": images.reason}
        if any(reasons.values()):
            undefined[name] = {kind: reason for kind, reason in reasons.items() if reason}
    _write_tallies(members, scores, pixels, counted, keys, load, settings, ranks)
    shown = [*METRICS, *(["pixel_iou"] if settings.iou_threshold is not None else []), *settings.extra.names]
    mean = {metric: mean_known([values[metric] for values in categories.values()]) for metric in shown}
    normal = sum(sample.is_normal for sample in samples)
    counts = {"total": len(samples), "normal": normal, "anomalous": len(samples) - normal}
    return {"mean": mean, "categories": categories, "undefined": undefined, "images": counts}


def _load_ahead(samples: Sequence[Sample], load: LoadScored, workers: int) -> Iterator[tuple[Sample, ScoredImage]]:
    return zip(samples, map_threads(load, samples, workers=workers), strict=True)


def _progress(names: Sequence[str], ranks: Ranks) -> tqdm:
    return tqdm(names, desc="pixel metrics", unit="category", disable=not ranks.is_main)


def _exact(
    samples: Sequence[Sample], load: LoadScored, settings: ScoreSettings
) -> tuple[PixelMetrics, dict[str, Counted], dict[str, float | None]]:
    """The metrics of a category, the counts of each image by sample id while it may be held, and what is added."""
    images = LazyImages(samples, load, settings.workers)
    found = pixel_metrics(
        images, aupro_limit=settings.aupro_limit, iou_threshold=settings.iou_threshold, cuts=settings.cuts
    )
    counted = _count(images.items(), found) if len(found.cuts) else {}
    return found, counted, extra_pixels(samples, images, found, settings.extra)


def _count(images: Iterable[tuple[str, ScoredImage]], pixels: PixelMetrics) -> dict[str, Counted]:
    return {name: count_image(image, pixels.cuts) for name, image in images}


def _write_tallies(
    members: Mapping[str, Sequence[Sample]],
    scores: Mapping[str, float],
    pixels: Mapping[str, PixelMetrics],
    counted: Mapping[str, Mapping[str, Counted]],
    keys: Mapping[str, str],
    load: LoadScored,
    settings: ScoreSettings,
    ranks: Ranks,
) -> None:
    """Keeps what each image adds; what the streaming engine has not counted yet is counted now, shared by the ranks."""
    path = settings.tallies
    if path is None:
        return
    known = ranks.once(lambda: read_noted(path)) if keys else {}
    tallies: dict[str, Tally] = {}
    notes: dict[str, str] = {}
    for name, samples in members.items():
        notes[name] = hash_value([[keys[s.id] for s in samples], settings.bins]) if keys else ""
        own, cuts = [scores[s.id] for s in samples], pixels[name].cuts
        if keys and name in known and known[name][1] == notes[name]:
            tallies[name] = replace(known[name][0], scores=np.asarray(own, np.float64))
            continue
        found = counted.get(name)
        if found is None:
            share = ranks.share(samples) if len(cuts) else []
            mine = _count(((s.id, image) for s, image in _load_ahead(share, load, settings.workers)), pixels[name])
            found = {sample_id: one for part in ranks.gather(mine) for sample_id, one in part.items()}
        listed = [found.get(s.id, Counted.nothing()) for s in samples]
        tallies[name] = stack_counts([s.id for s in samples], listed, cuts, own, [not s.is_normal for s in samples])
    if ranks.is_main:
        write_tallies(path, tallies, notes)


def _stream(
    samples: Sequence[Sample],
    keys: Mapping[str, str],
    load: LoadScored,
    settings: ScoreSettings,
    ranks: Ranks,
) -> PixelMetrics:
    """Counts this rank's share, going on from what it had saved, and adds up the counts of all ranks."""
    share = ranks.share(samples)
    note = hash_value([[keys[sample.id] for sample in share], settings.iou_threshold])
    path = settings.state / f"{note[:20]}.safetensors" if settings.state is not None else None
    histogram = load_histogram(path, note) if path else None
    histogram = histogram or PixelHistogram(threshold=settings.iou_threshold)
    done = histogram.images
    for count, (_, image) in enumerate(_load_ahead(share[done:], load, settings.workers), done + 1):
        histogram.add(image)
        if path and (count % SAVE_EVERY == 0 or count == len(share)):
            save_histogram(path, histogram, note)
    if ranks.world == 1:
        return read_histogram(histogram, aupro_limit=settings.aupro_limit, cuts=settings.cuts)
    total = PixelHistogram(threshold=settings.iou_threshold)
    for packed in ranks.gather(pack_histogram(histogram)):
        total.merge(unpack_histogram(packed)[0])
    return read_histogram(total, aupro_limit=settings.aupro_limit, cuts=settings.cuts)


def _figures(pixels: PixelMetrics, images: RankingMetrics, settings: ScoreSettings) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "pixel_auroc": percent(pixels.auroc),
        "pixel_f1_max": percent(pixels.f1_max),
        "pixel_ap": percent(pixels.ap),
        "pixel_aupro": percent(pixels.aupro),
        "image_auroc": percent(images.auroc),
        "image_ap": percent(images.ap),
        "image_f1_max": percent(images.f1_max),
        "pixel_f1_threshold": pixels.f1_threshold,
        "image_f1_threshold": images.f1_threshold,
    }
    if settings.iou_threshold is not None:
        figures["pixel_iou"] = percent(pixels.iou)
    if pixels.brackets:
        ends = {f"pixel_{name}": [100 * low, 100 * high] for name, (low, high) in pixels.brackets.items()}
        figures["brackets"] = ends
    return figures
