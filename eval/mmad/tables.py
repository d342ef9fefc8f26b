"""MMAD's tables as Markdown and as one HTML page."""

from __future__ import annotations

from typing import Any

from eval.metrics.figures import format_figure
from eval.mmad.score import FIGURES
from eval.report.page import escape_markdown, page_environment

HEADS = {
    "anomaly_discrimination": "Anomaly discrim.",
    "defect_classification": "Defect class.",
    "defect_localization": "Defect local.",
    "defect_description": "Defect descr.",
    "defect_analysis": "Defect analysis",
    "object_classification": "Object class.",
    "object_analysis": "Object analysis",
    "average": "Average",
    "overkill": "Overkill",
    "miss": "Miss",
    "unparsable": "Unparsable",
}


def render_markdown(results: dict[str, Any]) -> str:
    """The summary, the table of datasets with its confidence intervals, and one table of categories a dataset."""
    lines = [f"**MMAD**, {escape_markdown(summary(results))}", ""]
    blocks = {**results["datasets"], "Mean": results["mean"]}
    lines += _table("Dataset", blocks)
    for name, table in results["datasets"].items():
        if table["categories"]:
            lines += ["", f"**{escape_markdown(name)}**", "", *_table("Category", table["categories"])]
    return "\n".join(lines) + "\n"


def render_html(results: dict[str, Any]) -> str:
    """One self-contained page."""
    environment = page_environment(cell=format_figure, limits=format_limits)
    return environment.get_template("mmad.html.j2").render(results=results, heads=HEADS, summary=summary(results))


def summary(results: dict[str, Any]) -> str:
    """What was scored, in one line."""
    model = " + ".join(filter(None, (results["model"], results["adapter"]))) or "unnamed model"
    parts = [model, f"mode {results['mode']}", results["setting"]]
    parts.append(f"{results['answered']} of {results['questions']} questions answered")
    failed = sum(results["failures"].values())
    parts.append(f"{failed} without an answer from the server, counted as wrong" if failed else "")
    left_out = sum(results["skipped"].values())
    parts.append(f"{left_out} entries left out" if left_out else "")
    return ", ".join(filter(None, parts))


def format_limits(limits: list[float] | None) -> str:
    """`low–high`, or nothing."""
    return "" if limits is None else f"{limits[0]:.1f}–{limits[1]:.1f}"


def _table(corner: str, blocks: dict[str, Any]) -> list[str]:
    lines = [
        f"| {corner} | " + " | ".join(HEADS[name] for name in FIGURES) + " | Questions |",
        "|---|" + "---:|" * (len(FIGURES) + 1),
    ]
    for name, table in blocks.items():
        cells = []
        for figure in FIGURES:
            limits = format_limits(table["interval"][figure])
            cells.append(format_figure(table[figure]) + (f" ({limits})" if limits else ""))
        lines.append(f"| {escape_markdown(name)} | " + " | ".join(cells) + f" | {table['questions']} |")
    return lines
