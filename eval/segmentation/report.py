"""The report of one segmentation evaluation: `report.html`, `report.md`, `report.json` and `results.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.files import write_json, write_text
from data.sample import ImageArray, Sample, load_image
from eval.metrics.figures import TITLES, format_figure
from eval.metrics.thresholds import LEGACY_WARNING
from eval.report.cases import GalleryConfig, draw_case
from eval.report.facts import read_versions
from eval.report.page import page_environment
from eval.segmentation.category_scores import METRICS, LoadScored
from models.contour import ContourConfig

SECTIONS = {
    "found": ("Defective, highest scores", "Furthest above the image threshold of their category."),
    "missed": ("Defective, lowest scores", "Furthest below it: what is missed first."),
    "alarms": ("Sound, highest scores", "Nearest to a false alarm, or one."),
}
EACH = 4  # cases a section
NAMED = 8  # samples that a note names
RESULT = "report.json"
MASKS = {"nearest": "take the nearest pixel", "bilinear": "are bilinear, then above 0.5"}


@dataclass(frozen=True, slots=True)
class _Scored:
    sample: Sample
    score: float
    margin: float


def write_segmentation_report(
    out: Path,
    summary: dict[str, Any],
    samples: Sequence[Sample],
    scores: Mapping[str, float],
    load: LoadScored,
    show: Callable[[ImageArray], ImageArray] = lambda image: image,
) -> None:
    """Writes the four files.

    Args:
        out: Where to.
        summary: What the evaluation found, in percent.
        samples: What was evaluated.
        scores: Sample id → image score.
        load: Decodes map and mask of a sample.
        show: The part of an image that map and mask are of.
    """
    write_json(out / "results.json", results_of(summary))
    columns = {name: title for name, title in TITLES.items() if name in summary["mean"]}
    facts = {
        **summary,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": read_versions(),
        "notes": describe_settings(summary),
    }
    gallery = _gallery(summary, samples, scores, load, show)
    pages = page_environment(figure=format_figure)
    page = pages.get_template("segmentation.html.j2").render(facts=facts, columns=columns, gallery=gallery)
    text = pages.get_template("segmentation.md.j2").render(facts=facts, columns=columns)
    write_json(out / "report.json", facts)
    write_text(out / "report.md", text)
    write_text(out / "report.html", page)


def results_of(summary: dict[str, Any]) -> dict[str, Any]:
    """The figures that other tools read: `mean` and `categories`, in percent."""
    names = [*METRICS, *(name for name in summary["mean"] if name not in METRICS)]
    categories = {
        category: {name: values[name] for name in names} for category, values in summary["categories"].items()
    }
    return {"mean": {name: summary["mean"][name] for name in names}, "categories": categories}


def describe_settings(summary: dict[str, Any]) -> list[str]:
    """What a figure means, one sentence a point."""
    config = summary["config"]
    where = "its native size" if summary["resolution"] == "native" else summary["resolution"]
    score = {
        "maximum": f"the greatest value of its map at {where}",
        "top_mean": f"the mean of the greatest {100 * config['score_fraction']:g} % of its map at {where}",
        "model": "what the model or expert itself says",
        "half": f"the mean of what the model or expert says and the greatest value of its map at {where}",
    }[summary["image_score"]]
    notes = [
        *(f"{name.capitalize()}: {summary[name]}" for name in ("setting", "draw") if summary.get(name)),
        f"Convention: {summary['convention']}.",
        f"Resolution: {summary['resolution']}"
        + (
            f"; masks {MASKS[config['mask_rule']]}, maps bilinear or area averages."
            if summary["resolution"] != "native"
            else "."
        ),
        f"Image score: {score}.",
        f"AUPRO up to a false-positive rate of {config['aupro_limit']:g}; the mean is over categories.",
    ]
    if summary["engine"] == "exact":
        notes.append("Engine: exact, every pixel is ranked.")
    else:
        widths = [
            high - low for values in summary["categories"].values() for low, high in values.get("brackets", {}).values()
        ]
        width = f"{max(widths):.2g} points at most" if widths else "none: no category has a value"
        notes.append(f"Engine: streaming; the exact figures lie within brackets, width {width}.")
    if "pixel_aupro_legacy" in summary["mean"]:
        notes.append(f"{LEGACY_WARNING}.")
    if config["crop"]:
        notes.append(f"Images resized to {config['input_size']} px; the central {config['crop']} px are measured.")
    if config["smoothing"]:
        notes.append(f"Maps smoothed with a standard deviation of {config['smoothing']:g} px.")
    if config["spro_limit"] is not None:
        notes.append(f"AU-sPRO up to a false-positive rate of {config['spro_limit']:g}, with the dataset's areas.")
    if config["per_object"]:
        notes.append("Object metrics: an object scores as its worst view, and is anomalous if one of its views is.")
    if vanished := summary["vanished_masks"]:
        notes.append(f"Defects too small for the resolution, no pixel left ({len(vanished)}): {_some(vanished)}.")
    if resized := summary.get("resized_maps"):
        notes.append(f"Maps of an unexpected size that were resized ({len(resized)}): {_some(resized)}.")
    if config["iou_threshold"] is not None:
        notes.append(f"IoU of the mask and map ≥ {config['iou_threshold']:g}, over all pixels of a category.")
    if config["flip"] or config["scales"] != [1.0]:
        notes.append(f"Maps averaged over scales {config['scales']}{' and mirrored images' if config['flip'] else ''}.")
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", … (all in {RESULT})" if len(names) > NAMED else "")


def _gallery(
    summary: dict[str, Any],
    samples: Sequence[Sample],
    scores: Mapping[str, float],
    load: LoadScored,
    show: Callable[[ImageArray], ImageArray],
) -> list[dict[str, Any]]:
    thresholds = {name: values["image_f1_threshold"] or 0.0 for name, values in summary["categories"].items()}
    scored = [_Scored(s, scores[s.id], _finite(scores[s.id]) - _finite(thresholds[s.category])) for s in samples]
    defective = sorted((c for c in scored if not c.sample.is_normal), key=lambda c: (-c.margin, c.sample.id))
    normal = sorted((c for c in scored if c.sample.is_normal), key=lambda c: (-c.margin, c.sample.id))
    missed = [case for case in defective[::-1][:EACH] if case not in defective[:EACH]]
    chosen = {"found": defective[:EACH], "missed": missed, "alarms": normal[:EACH]}
    tops = {name: max(_finite(scores[s.id]) for s in samples if s.category == name) for name in summary["categories"]}
    return [
        {"title": title, "about": about, "cases": [_show(case, summary, tops, load, show) for case in chosen[key]]}
        for key, (title, about) in SECTIONS.items()
        if chosen[key]
    ]


def _show(
    case: _Scored,
    summary: dict[str, Any],
    tops: Mapping[str, float],
    load: LoadScored,
    show: Callable[[ImageArray], ImageArray],
) -> dict[str, Any]:
    """Texts and pictures; the map is coloured from its own least value to the category's greatest image score."""
    sample, scored = case.sample, load(case.sample)
    anomaly_map = np.nan_to_num(scored.anomaly_map.astype(np.float64))
    height, width = anomaly_map.shape
    image = show(load_image(sample.image)) if summary["config"]["crop"] else load_image(sample.image)
    if image.shape[:2] != (height, width):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    low = float(anomaly_map.min())
    span = max(tops[sample.category] - low, float(np.finfo(np.float64).tiny))
    threshold = summary["categories"][sample.category]["pixel_f1_threshold"]
    cut = (_finite(threshold) - low) / span if threshold is not None else np.inf
    shown = np.clip((anomaly_map - low) / span, -1e6, 1e6).astype(np.float32)
    pictures = draw_case(
        image, scored.mask, shown, [], ContourConfig(threshold=float(np.clip(cut, -2e6, 2e6))), GalleryConfig()
    )
    return {
        "id": sample.id,
        "category": sample.category.replace("_", " "),
        "defect": sample.defect,
        "score": case.score,
        "pictures": pictures,
    }


def _finite(value: float) -> float:
    return float(np.nan_to_num(value))
