"""The gallery of the report: how well each outline fits, which cases are shown, and their pictures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.masks import Box
from data.sample import ImageArray, MaskArray, Sample, load_image, load_mask
from eval.segmentation.map_store import MapRow, MapStore
from eval.segmentation.prompts import shown_description
from eval.words.look import Look, look_at
from models.contour import GREEN, ContourConfig, colour_map, draw_boxes, draw_contour, find_mask


@dataclass(kw_only=True, slots=True)
class GalleryConfig:
    """Which cases are shown, and how large.

    Attributes:
        best: Defects whose outline fits best.
        worst: Defects whose outline fits worst.
        random: Defects drawn at random.
        normal: Normal images; the half with the highest scores first, the rest at random.
        decoys: Defects with decoys, drawn at random.
        side: Longer side of each picture in pixels.
        quality: JPEG quality.
        seed: Seed of the random choices.
    """

    best: int = 4
    worst: int = 4
    random: int = 6
    normal: int = 4
    decoys: int = 4
    side: int = 256
    quality: int = 86
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One evaluated image.

    Attributes:
        sample: The image with its annotation.
        row: What the model said.
        overlap: Intersection over union of outline and true mask, in 0..1; None when normal.
        touches: Whether the outline meets the true mask.
        flagged: Share of the image inside the outline, in 0..1.
        decoys: Boxes of harmless look-alikes.
        look: Where map and defect are, in the words of the grid.
    """

    sample: Sample
    row: MapRow
    overlap: float | None
    touches: bool
    flagged: float
    decoys: list[Box] = field(default_factory=list)
    look: Look | None = None


def measure_cases(
    samples: Sequence[Sample],
    rows: Mapping[str, MapRow],
    store: MapStore,
    contour: ContourConfig,
    decoys: Mapping[str, list[Box]],
) -> list[Case]:
    """Compares outline and true mask of every image."""
    cases = []
    for sample in tqdm(samples, desc="gallery", unit="image"):
        row = rows[sample.id]
        anomaly_map = store.load(row)
        outlined = find_mask(anomaly_map, contour)
        truth = load_mask(sample, (anomaly_map.shape[0], anomaly_map.shape[1]))
        both, either = int((outlined & truth).sum()), int((outlined | truth).sum())
        overlap = None if sample.is_normal else both / either
        look = look_at(sample, anomaly_map, truth)
        cases.append(Case(sample, row, overlap, both > 0, float(outlined.mean()), decoys.get(sample.id, []), look))
    return cases


def operating_point(cases: Sequence[Case]) -> dict[str, Any]:
    """What the fixed threshold means in practice, in percent: the figures that a production line would see.

    Returns:
        `defective_flagged`: defective images with any outline; `located`: with an outline that meets the defect;
        `normal_flagged`: normal images with any outline; `overlap`: mean overlap over defective images. A value is
        None where there are no such images.
    """
    defective = [case for case in cases if not case.sample.is_normal]
    normal = [case for case in cases if case.sample.is_normal]
    return {
        "defective_flagged": _share([case.flagged > 0 for case in defective]),
        "located": _share([case.touches for case in defective]),
        "normal_flagged": _share([case.flagged > 0 for case in normal]),
        "overlap": _share([case.overlap or 0.0 for case in defective]),
        "defective": len(defective),
        "normal": len(normal),
    }


def choose_cases(cases: Sequence[Case], config: GalleryConfig) -> dict[str, list[Case]]:
    """Best, worst, random, normal and decoy cases; no image is shown twice.

    Best and worst spread over the categories, so that one easy or hard product does not fill the page.
    """
    random = np.random.default_rng(config.seed)
    shuffled = [cases[index] for index in random.permutation(len(cases))]
    shown: set[str] = set()

    def take(candidates: Sequence[Case], count: int, per_category: int | None = None) -> list[Case]:
        taken: list[Case] = []
        categories: Counter[str] = Counter()
        for case in candidates:
            full = per_category is not None and categories[case.sample.category] >= per_category
            if len(taken) < count and case.sample.id not in shown and not full:
                taken.append(case)
                shown.add(case.sample.id)
                categories[case.sample.category] += 1
        return taken

    defective = [case for case in shuffled if not case.sample.is_normal]
    normal = [case for case in shuffled if case.sample.is_normal]
    known = len({case.sample.category for case in defective})
    each = max(2, -(-max(config.best, config.worst) // max(known, 1)))
    by_overlap = sorted(defective, key=lambda case: case.overlap or 0.0)
    alarms = sorted(normal, key=lambda case: -case.row.score)
    chosen = {
        "best": take(by_overlap[::-1], config.best, each),
        "worst": take(by_overlap, config.worst, each),
        "random": take(defective, config.random),
        "decoys": take([case for case in defective if case.decoys], config.decoys),
        "normal": take(alarms, config.normal // 2, 2),
    }
    chosen["normal"] += take(normal, config.normal - len(chosen["normal"]))
    return chosen


def show_case(
    case: Case, store: MapStore, contour: ContourConfig, config: GalleryConfig, descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """Texts and pictures of one case, as the template wants them.

    Args:
        case: The case.
        store: Where its anomaly map is.
        contour: Threshold and line width.
        config: Size and quality of the pictures.
        descriptions: EDDM's descriptions by sample id, for evaluations that did not use them.
    """
    image = load_image(case.sample.image)
    anomaly_map = store.load(case.row)
    truth = load_mask(case.sample, (image.shape[0], image.shape[1]))
    return {
        "id": case.sample.id,
        "category": case.sample.category.replace("_", " "),
        "defect": case.sample.defect,
        "description": shown_description(case.row.prompt) or descriptions.get(case.sample.id, ""),
        "score": case.row.score,
        "overlap": case.overlap,
        "flagged": case.flagged,
        "decoys": len(case.decoys),
        "pictures": draw_case(image, truth, anomaly_map, case.decoys, contour, config),
    }


def draw_case(
    image: ImageArray,
    truth: MaskArray,
    anomaly_map: NDArray[np.float32],
    decoys: Sequence[Box],
    contour: ContourConfig,
    config: GalleryConfig,
) -> dict[str, str]:
    """The four pictures of a case as data URIs: `image`, `truth`, `map`, `contour`."""
    scale = min(1.0, config.side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    small_truth = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    small_map = np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_AREA), np.float32)
    outlined = cv2.resize(find_mask(anomaly_map, contour).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    boxes = [(round(a * scale), round(b * scale), round(c * scale), round(d * scale)) for a, b, c, d in decoys]
    drawn = {
        "image": small,
        "truth": draw_boxes(draw_contour(_fade(small, small_truth), small_truth, contour, GREEN), boxes, contour),
        "map": colour_map(small_map),
        "contour": draw_contour(small, outlined >= 0.5, contour),
    }
    return {name: encode_picture(picture, config.quality) for name, picture in drawn.items()}


def _fade(image: ImageArray, keep: MaskArray) -> ImageArray:
    """Fades all but the pixels to keep to pale grey: legible on screen and on paper."""
    pale = 0.72 * 255 + 0.28 * image.mean(axis=2, keepdims=True)
    return np.where(keep[..., None], image, pale).round().astype(np.uint8)


def encode_picture(picture: ImageArray, quality: int) -> str:
    """An RGB picture as a JPEG data URI."""
    _, encoded = cv2.imencode(
        ".jpg",
        cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    )
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _share(values: Sequence[float]) -> float | None:
    return 100 * float(np.mean(values)) if values else None
