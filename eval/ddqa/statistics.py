"""Statistics of a built DDQA: Table I beside the paper's figures, histograms and sample cards, on one page."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.ddqa.config import Layout
from data.ddqa.summary import SourceSummary, summarise
from data.errors import UserError
from data.files import read_json, write_json, write_text
from data.processes.lock import held
from eval.ddqa.cards import CardsConfig, make_cards
from eval.report.charts import draw_bars, draw_sizes
from eval.report.page import page_environment
from eval.tables.comparison import Comparison, format_comparison, shown
from eval.tables.counts import compare_counts

log = logging.getLogger(__name__)
MANY_REGIONS, MANY_CLASSES = 8, 24


@dataclass(kw_only=True, slots=True)
class StatsConfig:
    """What to summarise.

    Attributes:
        ddqa: Folder that `scripts.build_ddqa` wrote with `out=`.
        out: Folder for `ddqa_stats.json` and `ddqa_stats.html`; empty writes beside the rows.
        cards: Which sample cards are shown.
    """

    ddqa: str
    out: str = ""
    cards: CardsConfig = field(default_factory=CardsConfig)


def build_stats(config: StatsConfig) -> str:
    """Writes the statistics and returns Table I as text: ours | the paper's | difference.

    Raises:
        UserError: If the folder holds no published build, its files disagree, or an image is gone.
    """
    layout = Layout(Path(config.ddqa), "train", published=True)
    stats = read_json(layout.stats)
    table = compare_counts(stats, {})
    log.info("Reading %s …", layout.samples)
    summaries = summarise(layout.samples)
    if unknown := set(summaries) - set(stats):
        raise UserError(f"{layout.samples} holds '{min(unknown)}', which {layout.stats} does not. Build DDQA again.")
    skipped = read_json(layout.skipped) if layout.skipped.is_file() else []
    out = Path(config.out or config.ddqa)
    facts = {
        "table": table.as_json(),
        "sources": {name: summary.as_json() for name, summary in summaries.items()},
        "skipped": skipped,
    }
    page = _render(table, summaries, skipped, make_cards(layout, config.cards))
    with held(out / "ddqa_stats.html"):
        write_json(out / "ddqa_stats.json", facts)
        write_text(out / "ddqa_stats.html", page)
    log.info("Statistics: %s (%.1f MB)", out / "ddqa_stats.html", len(page.encode()) / 1e6)
    return format_comparison(table)


def _render(
    table: Comparison,
    summaries: Mapping[str, SourceSummary],
    skipped: list[dict[str, str]],
    cards: list[dict[str, Any]],
) -> str:
    environment = page_environment(shown=shown)
    return environment.get_template("ddqa_stats.html.j2").render(
        table=table,
        titles={name: line.title for name, line in table.lines.items() if name in summaries},
        summaries={name: summary.as_json() for name, summary in summaries.items()},
        skipped=skipped,
        charts=_charts(table, summaries),
        sources=cards,
    )


def _charts(table: Comparison, summaries: Mapping[str, SourceSummary]) -> list[dict[str, str]]:
    shown = {table.lines[name].title: summary for name, summary in summaries.items() if summary.shares}
    if not shown:
        return []
    regions = {title: _cap_regions(summary.regions) for title, summary in shown.items()}
    classes = sum((summary.classes for summary in shown.values()), Counter())
    kept = [name for name, _ in classes.most_common(MANY_CLASSES)]
    by_class = {
        title: {name: summary.classes[name] for name in kept}
        | ({"others": rest} if (rest := sum(summary.classes.values()) - sum(summary.classes[n] for n in kept)) else {})
        for title, summary in shown.items()
    }
    return [
        {
            "name": "Defect size",
            "picture": draw_sizes({t: s.shares for t, s in shown.items()}, title="Defect size, % of the image"),
        },
        {
            "name": "Defect regions",
            "picture": draw_bars(regions, title="Defect regions per anomalous image", upright=True),
        },
        {"name": "Defect classes", "picture": draw_bars(by_class, title="Anomalous images per defect class")},
    ]


def _cap_regions(regions: Mapping[int, int]) -> dict[str, int]:
    capped = {str(count): regions.get(count, 0) for count in range(1, MANY_REGIONS)}
    return capped | {f"{MANY_REGIONS}+": sum(n for count, n in regions.items() if count >= MANY_REGIONS)}
