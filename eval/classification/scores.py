"""Scores of classified images: the five metrics, unknown replies, confusion, intervals, severity, and their table."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.classes.texts import Product, read_unique_json
from data.errors import UserError
from eval.classification.config import ClassificationConfig
from eval.classification.names import ClassNames, Names
from eval.classification.severity import SCRIPT_NOTES, SeverityReading, severity_scores
from eval.metrics.classes import (
    METRICS,
    UNKNOWN,
    Confusion,
    bootstrap_intervals,
    class_metrics,
    count_confusion,
    mean_metrics,
)
from eval.metrics.figures import format_figure, percent
from eval.tables.velm import published_scores

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One classified image.

    Attributes:
        id: Named in errors.
        category: Category of the product.
        truth: True class as the dataset calls it; `good` when normal.
        reply: What the model said; `good` when the expert's gate let the image pass.
    """

    id: str
    category: str
    truth: str
    reply: str


def score_all(
    predictions: Sequence[Prediction], products: Mapping[str, Product], source: str, config: ClassificationConfig
) -> dict[str, Any]:
    """Everything that is scored: `score_predictions`, `severity`, `intervals` and the `published` figures.

    Args:
        predictions: Every image of the test set.
        products: Class descriptions by category.
        source: File of the descriptions; named in errors.
        config: Names, resamples, seeds.
    """
    result = score_predictions(predictions, products, config.names, source)
    result |= score_severity(predictions, products, source, config)
    if config.resamples:
        result["intervals"] = _intervals(result["confusion"], config)
    result["published"] = published_scores(config.dataset)
    return result


def read_predictions(path: Path, products: Mapping[str, Product]) -> list[Prediction]:
    """Reads VELM's prediction file: `<category>_<class>_<number>` → reply.

    Raises:
        UserError: If the file is missing, malformed or empty, a key has another form or an unknown category, or a reply
            is not a text.
    """
    rows = []
    for key, reply in read_unique_json(path).items():
        category = max((name for name in products if key.startswith(f"{name}_")), key=len, default=None)
        if category is None:
            raise UserError(f"Unknown category: '{key}' in {path}. The class file has: {', '.join(products)}.")
        found = re.fullmatch(r"(.+)_\d+", key.removeprefix(f"{category}_"))
        if found is None:
            raise UserError(f"Bad key: '{key}' in {path} is not <category>_<class>_<number>. Rename it.")
        if not isinstance(reply, str):
            raise UserError(f"Bad reply: {reply!r} to '{key}' in {path} is not a text. Write the class name.")
        rows.append(Prediction(key, category, found[1], reply))
    if not rows:
        raise UserError(f"No predictions in {path}. It must map <category>_<class>_<number> to a reply.")
    return rows


def score_predictions(
    predictions: Sequence[Prediction], products: Mapping[str, Product], names: Names, source: str
) -> dict[str, Any]:
    """Scores replies, in percent.

    Args:
        predictions: Every image of the test set, those that the gate let pass included.
        products: Class descriptions by category.
        names: How strictly class names are compared.
        source: File of the descriptions; named in errors.

    Returns:
        `mean` and `categories` (the five metrics; None where undefined), `images`, `unknown` (how many replies name no
        class, at which rate, and which), `confusion`, and `left_out`: categories of the file without a prediction.

    Raises:
        UserError: If a true class or a category has no description.
    """
    pairs = _read_classes(predictions, products, names, source)
    confusions = {category: count_confusion(*zip(*rows, strict=True)) for category, rows in pairs.items()}
    scores = {category: class_metrics(confusion) for category, confusion in confusions.items()}
    unread: dict[str, Counter[str]] = defaultdict(Counter)
    for row in predictions:
        if ClassNames(products[row.category], names, source).read_reply(row.reply) == UNKNOWN:
            unread[row.category][row.reply] += 1
    count = sum(sum(counter.values()) for counter in unread.values())
    return {
        "mean": _percent(mean_metrics(scores)),
        "categories": {category: _percent(values) for category, values in scores.items()},
        "images": {category: confusion.images for category, confusion in confusions.items()},
        "unknown": {
            "count": count,
            "rate": 100 * count / len(predictions),
            "replies": {category: dict(counter) for category, counter in unread.items()},
        },
        "confusion": {
            category: {"classes": list(confusion.classes), "counts": confusion.counts.tolist()}
            for category, confusion in confusions.items()
        },
        "left_out": [category for category in products if category not in pairs],
    }


def score_severity(
    predictions: Sequence[Prediction], products: Mapping[str, Product], source: str, config: ClassificationConfig
) -> dict[str, Any]:
    """The anomaly-versus-defect protocol in both readings, percent: {"severity": {reading: its figures}}."""
    pairs = _read_classes(predictions, products, config.names, source)
    found: dict[str, Any] = {}
    for reading in SeverityReading:
        scores = severity_scores(pairs, products, reading, config.severity_seeds)
        known = {
            key: [value for values in scores.values() if (value := values[key]) is not None]
            for key in ("normal", "anomaly", "defect", "total")
        }
        mean = {key: sum(values) / len(values) if values else None for key, values in known.items()}
        found[reading.value] = {
            "mean": _percent(mean),
            "categories": {category: _percent(values) for category, values in scores.items()},
            "note": SCRIPT_NOTES.get(config.dataset, "") if reading is SeverityReading.published else "",
        }
    return {"severity": found}


def _read_classes(
    predictions: Sequence[Prediction], products: Mapping[str, Product], names: Names, source: str
) -> dict[str, list[tuple[str, str]]]:
    """True and predicted class of every image, by category in the order of the description file."""
    pairs: dict[str, list[tuple[str, str]]] = {category: [] for category in products}
    readers = {category: ClassNames(product, names, source) for category, product in products.items()}
    for row in predictions:
        if row.category not in readers:
            raise UserError(f"No description of category '{row.category}' ({row.id}) in {source}. Add it there.")
        reader = readers[row.category]
        pairs[row.category].append((reader.read_truth(row.truth), reader.read_reply(row.reply)))
    return {category: rows for category, rows in pairs.items() if rows}


def _intervals(confusion: Mapping[str, Any], config: ClassificationConfig) -> dict[str, Any]:
    matrices = {name: Confusion.from_lists(value["classes"], value["counts"]) for name, value in confusion.items()}
    mean, categories = bootstrap_intervals(matrices, resamples=config.resamples, seed=config.seed)
    return {
        "level": 95,
        "mean": {name: _percent_pair(pair) for name, pair in mean.items()},
        "categories": {
            category: {name: _percent_pair(pair) for name, pair in values.items()}
            for category, values in categories.items()
        },
    }


def log_tables(result: Mapping[str, Any]) -> None:
    """One line a category, the published figures beside ours, then what needs saying."""
    published = result["published"]
    log.info("%-14s%s", "percent", "".join(f"{name:>20}" for name in METRICS))
    for category, values in [*result["categories"].items(), ("mean", result["mean"])]:
        cells = [_cell(values[name], published.get(category, {}).get(name)) for name in METRICS]
        log.info("%-14s%s", category, "".join(f"{cell:>20}" for cell in cells))
    if intervals := result.get("intervals"):
        cells = ["–" if not (pair := intervals["mean"][name]) else f"{pair[0]:.1f}–{pair[1]:.1f}" for name in METRICS]
        log.info("%-14s%s", "95 % interval", "".join(f"{cell:>20}" for cell in cells))
    if published:
        log.info("in brackets: the paper's DDAD + GPT-4o")
    for reading, values in result["severity"].items():
        cells = [f"{key} {_cell(value, None)}" for key, value in values["mean"].items()]
        log.info(
            "anomaly or defect (%s): %s%s", reading, ", ".join(cells), f" ({note})" if (note := values["note"]) else ""
        )
    unknown = result["unknown"]
    log.info("replies that name no class: %d (%.2f %%)", unknown["count"], unknown["rate"])
    for category, replies in unknown["replies"].items():
        log.info("  %s: %s", category, ", ".join(f"{reply!r} × {count}" for reply, count in sorted(replies.items())))
    if left_out := result["left_out"]:
        log.warning("described but without predictions, not in the mean: %s", ", ".join(left_out))


def _cell(value: float | None, published: float | None) -> str:
    return format_figure(value, 2) + ("" if published is None else f" ({published:.1f})")


def _percent(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: percent(value) for name, value in values.items()}


def _percent_pair(pair: Sequence[float] | None) -> list[float] | None:
    return None if pair is None else [100 * value for value in pair]
