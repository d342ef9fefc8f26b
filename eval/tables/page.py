"""Tables beside their published figures as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from eval.report.facts import read_versions
from eval.report.page import page_environment
from eval.tables.comparison import Comparison, format_pair, shown


def render_page(comparisons: Sequence[Comparison]) -> str:
    """The page."""
    environment = page_environment(shown=shown, pair=format_pair)
    return environment.get_template("reproduce.html.j2").render(
        comparisons=comparisons,
        measured=sum(one.measured for one in comparisons),
        rows=sum(len(one.lines) for one in comparisons),
        created=datetime.now(UTC).date().isoformat(),
        version=read_versions()["EIAD code"],
    )
