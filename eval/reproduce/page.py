"""Tables beside their published figures as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.report import TEMPLATES
from eval.report_facts import read_versions
from eval.reproduce.comparison import Comparison, shown


def render_page(comparisons: Sequence[Comparison]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    return environment.get_template("reproduce.html.j2").render(
        comparisons=comparisons,
        measured=sum(one.measured for one in comparisons),
        rows=sum(len(one.lines) for one in comparisons),
        created=datetime.now(UTC).date().isoformat(),
        version=read_versions()["EIAD code"],
    )
