"""`report.html`: every photo with its verdict, to be sorted and filtered in a browser without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data.files import write_text
from eval.inspection.decision import Verdict
from eval.inspection.rows import Row
from eval.report.facts import read_versions
from eval.report.page import page_environment

SELF_CONTAINED = 500  # photos; above, the page shows the files in thumbnails/ instead of holding them
ORDER = (Verdict.unreadable, Verdict.defect, Verdict.unsure, Verdict.ok)  # what needs a person first


def write_page(out: Path, rows: Sequence[Row], summary: Mapping[str, Any]) -> None:
    """Writes `OUT/report.html`.

    Args:
        out: Folder of the results, which holds the thumbnails.
        rows: One a photo.
        summary: How many of what, by which threshold.
    """
    whole = len(rows) <= SELF_CONTAINED
    page = (
        page_environment()
        .get_template("inspection.html.j2")
        .render(
            rows=[_show(row, out, whole) for row in sorted(rows, key=_urgency)],
            summary=summary,
            verdicts=[verdict.value for verdict in ORDER],
            whole=whole,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=read_versions(),
        )
    )
    write_text(out / "report.html", page)


def _urgency(row: Row) -> tuple[int, float, str]:
    """What needs a person first comes first, the worst of it on top."""
    return ORDER.index(row.verdict), -(row.score or 0.0), row.name


def _show(row: Row, out: Path, whole: bool) -> dict[str, Any]:
    return {
        "row": row,
        "verdict": row.verdict.value,
        "rank": ORDER.index(row.verdict),
        "picture": _picture(out, row.thumbnail, whole),
        "overlay": quote(row.overlay),
        "places": [f"{region.name or 'defect'} · {region.place}".replace("_", " ") for region in row.regions[:3]],
        "more": max(0, len(row.regions) - 3),
        "said": row.said if row.quoted else "",
    }


def _picture(out: Path, thumbnail: str, whole: bool) -> str:
    """Source of a picture: itself, or its file; empty where there is none."""
    if not thumbnail or not whole:
        return quote(thumbnail)
    return "data:image/jpeg;base64," + base64.b64encode((out / thumbnail).read_bytes()).decode("ascii")
