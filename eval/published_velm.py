"""VELM's published tables, for side-by-side reports (`published_velm.yaml`)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PUBLISHED = Path(__file__).with_name("published_velm.yaml")
DDAD = "ddad+gpt-4o"  # the configuration whose predictions are public
METRIC_COLUMNS = ("accuracy", "macro_f1", "kappa")


@cache
def published_tables() -> dict[str, Any]:
    """The five tables as the file holds them, percent: `table_1` … `table_5`."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def published_scores(dataset: str) -> dict[str, dict[str, float]]:
    """Published accuracy, macro_f1 and kappa of DDAD + GPT-4o on a dataset, percent, by category and `mean`.

    Empty for a dataset that the paper does not score; MVTec-AD has only the mean.
    """
    tables = published_tables()
    if dataset == tables["table_1"]["dataset"]:
        return {"mean": dict(zip(METRIC_COLUMNS, tables["table_1"]["mean"]["velm"], strict=True))}
    for table in (tables["table_2"], tables["table_3"]):
        if dataset == table["dataset"]:
            column = table["columns"].index(DDAD)
            return {
                name: dict(zip(METRIC_COLUMNS, cells[column], strict=True)) for name, cells in table["rows"].items()
            }
    return {}


def covers_published(dataset: str, categories: Iterable[str]) -> bool:
    """Whether these are all the categories that the paper's figures of a dataset are about.

    The paper gives no figures by category for MVTec-AD, whose categories contain those of MVTec-AC.
    """
    tables = published_tables()
    own = next((t for t in (tables["table_2"], tables["table_3"]) if t["dataset"] == dataset), tables["table_2"])
    return set(own["rows"]) - {"mean"} <= set(categories)
