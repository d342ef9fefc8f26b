"""The examination as a text for a terminal: what lies there, its counts, each problem with its fix."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from data.doctor.contents import Role
from data.doctor.counts import Row
from data.doctor.diagnosis import Diagnosis
from data.doctor.problems import Problem, count_severities, kinds

WIDTH = 120
ROLES = [role.value for role in Role]
GLUE = "\N{NO-BREAK SPACE}"  # keeps a name and its count on one line


def compose_report(diagnosis: Diagnosis, *, show: int | None) -> str:
    """Composes the text.

    Args:
        diagnosis: What was found.
        show: Files to name for each kind of problem; None names all.
    """
    parts = [_head(diagnosis)]
    if diagnosis.rows:
        parts.append(_table(diagnosis.rows))
    parts.append(list(_facts(diagnosis)))
    parts += list_problems(diagnosis.problems, show=show)
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def list_problems(problems: Sequence[Problem], *, show: int | None) -> list[list[str]]:
    """Paragraphs with all problems, worst first, and the verdict.

    Args:
        problems: Sorted as `settle` does.
        show: Files to name for each kind of problem; None names all.
    """
    groups = [(code, list(items)) for code, items in groupby(problems, key=lambda item: item.code)]
    return [*(list(_group(code, items, show)) for code, items in groups), [_verdict(problems, show)]]


def _head(diagnosis: Diagnosis) -> list[str]:
    found = diagnosis.found
    if found.signature is None:
        return [f"Examined: {diagnosis.path}"]
    lines = [f"{found.title}, reader={found.reader}", f"root: {found.root}"]
    return [*lines, f"recognised by: {', '.join(found.evidence)}"] if found.evidence else lines


def _table(rows: list[Row]) -> list[str]:
    widths = [max(len(text) for text in column) for column in zip(*map(_cells, rows), strict=True)]
    left, split, normal, anomalous = max(widths[0], 8), max(widths[1], 5), max(widths[2], 6), max(widths[3], 9)
    lines = [f"{'category':{left}}  {'split':{split}}  {'normal':>{normal}}  {'anomalous':>{anomalous}}  defects"]
    indent = " " * (left + split + normal + anomalous + 8)
    for row in rows:
        name, part, good, bad = _cells(row)
        start = f"{name:{left}}  {part:{split}}  {good:>{normal}}  {bad:>{anomalous}}  "
        entries = (f"{defect} {count}".replace(" ", GLUE) for defect, count in sorted(row.defects.items()))
        wrapped = textwrap.wrap(start + ", ".join(entries), WIDTH, subsequent_indent=indent)
        lines += [line.replace(GLUE, " ") for line in wrapped]
    normals, anomalies = sum(row.normal for row in rows), sum(row.anomalous for row in rows)
    lines.append(f"{'total':{left}}  {'':{split}}  {normals:>{normal}}  {anomalies:>{anomalous}}")
    return lines


def _cells(row: Row) -> tuple[str, str, str, str]:
    return row.category, row.split, str(row.normal), str(row.anomalous)


def _facts(diagnosis: Diagnosis) -> Iterator[str]:
    if same := [row for row in diagnosis.compared if row.found == row.published]:
        shown = ", ".join(f"{row.what} {row.found}" for row in same[:6])
        more = f" and {len(same) - 6} more" if len(same) > 6 else ""
        yield f"as published: {len(same)} of {len(diagnosis.compared)} counts ({shown}{more})"
    elif diagnosis.compared:
        yield f"as published: none of {len(diagnosis.compared)} counts"
    elif diagnosis.rows:
        yield "no published counts to compare with"
    if diagnosis.looked_into:
        files = ", ".join(f"{role} {diagnosis.looked_into[role]}" for role in ROLES if diagnosis.looked_into[role])
        yield f"files looked into: {files} ({diagnosis.remembered} remembered from an earlier run)"
    if diagnosis.images_compared is not None:
        yield f"compared with: {diagnosis.images_compared} images of the other dataset, by their pixels"
    if diagnosis.extras:
        yield f"left alone: {diagnosis.extras} image(s) of the download that are no samples by its layout"
    if diagnosis.skipped:
        reasons = sorted({reason for _, reason in diagnosis.skipped})
        yield f"left out by the reader's rules: {len(diagnosis.skipped)} image(s) ({'; '.join(reasons)})"


def _group(code: str, items: list[Problem], show: int | None) -> Iterator[str]:
    kind = kinds()[code]
    yield f"{kind.severity.value.upper()} {code}, {len(items)}: {kind.title}"
    shared = items[0].fix if len({item.fix for item in items}) == 1 else None
    for item in items[:show]:
        line = f"  {item.file}: {item.message}"
        yield from [line] if len(line) <= WIDTH else [f"  {item.file}", *_wrap(item.message, "      ")]
        if not shared:
            yield from _wrap(f"fix: {item.fix}", "      ")
    if show is not None and len(items) > show:
        yield f"  … and {len(items) - show} more"
    if shared:
        yield from _wrap(f"fix: {shared}", "  ")


def _wrap(text: str, indent: str) -> list[str]:
    rest = indent + "     " if text.startswith("fix: ") else indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _verdict(problems: Sequence[Problem], show: int | None) -> str:
    totals = count_severities(problems)
    counted = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in totals.items() if count)
    if not problems:
        return "Healthy: no problem found."
    cut = show is not None and any(
        len(list(items)) > show for _, items in groupby(problems, key=lambda item: item.code)
    )
    where = " The complete list: out=FILE, or json=true." if cut else ""
    return f"{'Not usable as it is' if totals['error'] else 'Usable'}: {counted}.{where}"
