"""Figures over several seeds: mean and standard deviation, as JSON, as a table in the log, and as a page."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import write_json, write_text
from eval.metrics.figures import TITLES, format_figure
from eval.report.facts import read_versions
from eval.report.page import page_environment
from eval.segmentation.report import describe_settings, results_of

log = logging.getLogger(__name__)
COLUMNS = ("image_auroc", "pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro")


def summarise_seeds(found: Mapping[int, dict[str, Any]], draw: str) -> dict[str, Any]:
    """What several evaluations of one expert come to.

    Args:
        found: Seed → summary of its evaluation; all of the same categories.
        draw: What each seed drew.

    Returns:
        `mean` and `categories`, the means over the seeds; `std` and `categories_std`, the standard deviations of a
        sample (divided by n − 1; None with one seed, or where a seed has no value); `seeds`, each seed's own; percent.
    """
    first = next(iter(found.values()))
    each = {seed: results_of(summary) for seed, summary in found.items()}
    own = [results["mean"] for results in each.values()]
    by_category = {name: [results["categories"][name] for results in each.values()] for name in first["categories"]}
    return {
        "name": first["name"],
        "setting": f"{first.get('setting', '')} {draw}".strip(),
        "convention": first["convention"],
        "notes": describe_settings(first | {"setting": "", "draw": ""}),
        "mean": _over(own, _mean),
        "std": _over(own, _deviation),
        "categories": {name: _over(rows, _mean) for name, rows in by_category.items()},
        "categories_std": {name: _over(rows, _deviation) for name, rows in by_category.items()},
        "seeds": {str(seed): results for seed, results in each.items()},
    }


def format_spread(mean: float | None, deviation: float | None, digits: int = 2) -> str:
    """`85.71 ± 1.20`; the mean alone where there is no deviation."""
    return format_figure(mean, digits) + (f" ± {deviation:.{digits}f}" if deviation is not None else "")


def log_seeds(result: dict[str, Any]) -> None:
    """Logs a table, one line a category."""
    log.info("%-20s%s  convention", "percent", "".join(f"{name:>18}" for name in COLUMNS))
    rows = [(name, values, result["categories_std"][name]) for name, values in result["categories"].items()]
    for name, means, deviations in [*rows, ("mean", result["mean"], result["std"])]:
        cells = "".join(f"{format_spread(means[column], deviations[column]):>18}" for column in COLUMNS)
        log.info("%-20s%s  %s", name, cells, result["convention"])
    log.info("%s", result["setting"])


def write_seeds(out: Path, result: dict[str, Any], images: Mapping[int, Sequence[str]]) -> None:
    """Writes `results.json` and `report.html`.

    Args:
        out: Where to; the seeds' own reports are in `seed_<number>` below.
        result: What `summarise_seeds` returned.
        images: Seed → ids of the images that it drew.
    """
    columns = {name: title for name, title in TITLES.items() if name in result["mean"]}
    page = page_environment(spread=format_spread, figure=format_figure).get_template("seeds.html.j2")
    write_json(out / "results.json", result)
    write_text(out / "report.html", page.render(facts=result, columns=columns, images=images, versions=read_versions()))


def _over(rows: Sequence[Mapping[str, float | None]], by: Any) -> dict[str, float | None]:
    return {name: by([row[name] for row in rows]) for name in rows[0]}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) == len(values) > 1 else None
