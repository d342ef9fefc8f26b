"""The report of a pipeline run, `report.html`: figures, confusion matrices, and what the MLLM saw and said."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.classes.texts import GOOD, Product
from data.files import write_text
from data.sample import load_image
from eval.classification.config import ClassificationConfig
from eval.classification.names import ClassNames
from eval.classification.velm import Row
from eval.metrics.classes import METRICS, UNKNOWN
from eval.metrics.figures import format_figure
from eval.report.cases import GalleryConfig, encode_picture
from eval.report.facts import read_versions
from eval.report.page import page_environment

COLUMNS = dict(zip(METRICS, ("Accuracy", "Macro-F1", "Kappa", "Eq. 1", "Eq. 2"), strict=True))
SECTIONS = {
    "wrong": ("Named wrongly", "the MLLM was asked and named another class, or none"),
    "right": ("Named rightly", "the MLLM was asked and named the true class"),
    "missed": ("Passed by the gate", "anomalous, but called good; the MLLM was never asked"),
}
PICTURES = {"reference": "Reference", "query": "Query", "visual": "What the expert marked"}
SIDE = 224  # of a picture in the gallery, pixels


def write_classification_report(
    out: Path,
    result: Mapping[str, Any],
    rows: Sequence[Row],
    products: Mapping[str, Product],
    images: Mapping[str, Path],
    config: ClassificationConfig,
) -> None:
    """Writes `OUT/report.html`, one self-contained page.

    Args:
        out: Output directory.
        result: What `results.json` holds.
        rows: What the pipeline said, image by image.
        products: Class descriptions by category.
        images: Sample id → image.
        config: Of the run.
    """
    environment = page_environment(figure=format_figure)
    page = environment.get_template("classification.html.j2").render(
        facts=result,
        columns=COLUMNS,
        matrices={name: shade(matrix) for name, matrix in result["confusion"].items()},
        gallery=choose_gallery(rows, products, images, config),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=read_versions(),
        pictures=PICTURES,
    )
    write_text(out / "report.html", page)


def shade(confusion: Mapping[str, Any]) -> dict[str, Any]:
    """A confusion matrix as the template wants it: per true class its cells, each with its share of the row, 0..1.

    Rows without an image (classes that were only predicted) are left out.
    """
    classes, counts = confusion["classes"], np.asarray(confusion["counts"])
    lines = [
        {
            "name": classes[index],
            "images": int(row.sum()),
            "cells": [
                {"count": int(count), "share": float(count / row.sum()), "right": column == index}
                for column, count in enumerate(row)
            ],
        }
        for index, row in enumerate(counts)
        if row.sum()
    ]
    return {"classes": classes, "lines": lines}


def choose_gallery(
    rows: Sequence[Row], products: Mapping[str, Product], images: Mapping[str, Path], config: ClassificationConfig
) -> list[dict[str, Any]]:
    """Cases of each section, drawn at random and spread over the categories; no more than `config.gallery` in all."""
    read = {name: ClassNames(product, config.names, config.classes) for name, product in products.items()}
    found: dict[str, list[tuple[Row, str, str]]] = {name: [] for name in SECTIONS}
    for row in rows:
        truth, said = read[row.category].read_truth(row.truth), read[row.category].read_reply(row.name)
        if row.passed:
            if truth != GOOD:
                found["missed"].append((row, truth, said))
        else:
            found["right" if truth == said else "wrong"].append((row, truth, said))
    filled = [name for name in SECTIONS if found[name]]
    each = config.gallery // max(1, len(filled))
    return [
        {
            "title": SECTIONS[name][0],
            "about": f"{len(found[name])}: {SECTIONS[name][1]}",
            "cases": [_show(*case, images) for case in _spread(found[name], each, config.seed)],
        }
        for name in filled
    ]


def _spread(cases: Sequence[tuple[Row, str, str]], count: int, seed: int) -> list[tuple[Row, str, str]]:
    """Draws cases at random, one a category in turn."""
    by_category: dict[str, list[tuple[Row, str, str]]] = {}
    for case in random.Random(seed).sample(list(cases), len(cases)):
        by_category.setdefault(case[0].category, []).append(case)
    turns = [case for turn in range(len(cases)) for kept in by_category.values() for case in kept[turn : turn + 1]]
    return turns[:count]


def _show(row: Row, truth: str, said: str, images: Mapping[str, Path]) -> dict[str, Any]:
    paths = {"reference": row.reference, "query": row.query or str(images[row.id]), "visual": row.visual}
    unread = f"no class: “{row.name[:120]}”" if row.name else "no class"
    return {
        "id": row.id,
        "category": row.category.replace("_", " "),
        "truth": truth.replace("_", " "),
        "answer": unread if said == UNKNOWN else said.replace("_", " "),
        "right": truth == said,
        "reply": row.reply[:160],
        "score": row.score,
        "threshold": row.threshold,
        "nothing_marked": row.nothing_marked,
        "pictures": {name: _encode(Path(path)) if path else None for name, path in paths.items()},
    }


def _encode(path: Path) -> str:
    image = load_image(path)
    scale = min(1.0, SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_picture(small, GalleryConfig().quality)
