"""Which table is made by which function, and all of them on one page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from data.errors import UserError
from data.files import write_json, write_text
from data.processes.lock import held
from eval.tables.classification import reproduce_classification, reproduce_prompt_parts, reproduce_severity
from eval.tables.comparison import Comparison, format_comparison
from eval.tables.config import ReproduceConfig
from eval.tables.ddqa import reproduce_counts, reproduce_difficulty
from eval.tables.mmad import reproduce_mmad
from eval.tables.page import render_page
from eval.tables.published import PublishedTable, load_published
from eval.tables.segmentation import reproduce_ablation, reproduce_segmentation

log = logging.getLogger(__name__)
Entry = Callable[[ReproduceConfig], Comparison]


def _published(key: str, make: Callable[[ReproduceConfig, PublishedTable], Comparison]) -> Entry:
    return lambda config: make(config, load_published()[key])


TABLES: dict[str, Entry] = {
    "eiad.1": reproduce_counts,
    "eiad.2": _published("eiad.2", reproduce_difficulty),
    "eiad.3": _published("eiad.3", reproduce_mmad),
    "eiad.4": _published("eiad.4", partial(reproduce_segmentation, dataset="mvtec_ad")),
    "eiad.5": _published("eiad.5", partial(reproduce_segmentation, dataset="visa")),
    "eiad.6": _published("eiad.6", partial(reproduce_segmentation, dataset="mvtec_3d")),
    "eiad.7": _published("eiad.7", reproduce_ablation),
    "velm.1": _published("velm.1", reproduce_classification),
    "velm.2": _published("velm.2", reproduce_classification),
    "velm.3": _published("velm.3", reproduce_classification),
    "velm.4": _published("velm.4", reproduce_severity),
    "velm.5": _published("velm.5", reproduce_prompt_parts),
}


def reproduce(config: ReproduceConfig) -> str:
    """Makes one table, or all, and writes `OUT/<table>.json` and `OUT/<table>.html` (`all`: one page).

    What is missing is said in its row; the published figures are shown all the same.

    Returns:
        The tables as text: ours | paper | difference.

    Raises:
        UserError: If there is no such table, a setting is out of range, or another process makes it.
    """
    if config.table != "all" and config.table not in TABLES:
        raise UserError(f"No table '{config.table}'. Choose table= from {', '.join(TABLES)}, or all.")
    config.bootstrap.check()
    keys = list(TABLES) if config.table == "all" else [config.table]
    page = Path(config.out) / f"{config.table}.html"
    made = []
    with held(page):
        for key in keys:
            log.info("%s …", key)
            comparison = TABLES[key](config)
            write_json(page.with_name(f"{key}.json"), comparison.as_json())
            made.append(comparison)
        write_text(page, render_page(made))
    log.info("Page: %s", page)
    return "\n\n".join(format_comparison(comparison) for comparison in made)
