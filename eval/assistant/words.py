"""What the page says, as HTML in which every name and every word of a model is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from eval.inspection.decision import Verdict
from eval.inspection.rows import RegionRow, Row
from eval.judgements.judgement import Finding
from models.chat.answers import plain_text
from models.chat.protocol import Turn

ALL = "all of them"
NO_WORDS = (
    "<p class='quiet'>A vision expert has no words. Start the page with run= or export= to ask about a photo.</p>"
)
ONE_BY_ONE = "<p class='quiet'>This model is asked each question alone: it does not see the ones before.</p>"
NOTHING_YET = "<p class='quiet'>Drop a photo to begin.</p>"


def say_verdict(row: Row, name: str) -> str:
    """Verdict, score and words about a photo, under the name that the person knows."""
    title = f"<p class='quiet'>{escape(name)}</p>"
    if row.verdict is Verdict.unreadable:
        return f"{title}<p><b class='verdict unreadable'>unreadable</b></p><p>{escape(row.error)}</p>"
    probability = "" if row.probability is None else f", probability of a defect {100 * row.probability:.0f} %"
    score = "no score" if row.score is None else f"score {row.score:.3g}"
    parts = [
        title,
        f"<p><b class='verdict {row.verdict.value}'>{row.verdict.value}</b> "
        f"<span class='quiet'>{score}, threshold {row.threshold:.3g}{probability}</span></p>",
        f"<p>{escape(row.description)}</p>",
    ]
    parts += [f"<p>EDDM: “{escape(row.said)}”</p>"] if row.quoted else []
    parts += [f"<p class='quiet'>{escape(row.reason)}</p>"]
    parts += [f"<p class='warning'>{escape(warning)}</p>" for warning in row.warnings]
    return "".join(parts)


def say_notices(lines: Sequence[str]) -> str:
    """What a person must know, one line each; nothing where there is nothing."""
    return f"<div role='status'>{''.join(f'<p>{escape(line)}</p>' for line in lines)}</div>" if lines else ""


def list_regions(regions: Sequence[RegionRow]) -> list[tuple[str, int]]:
    """The choices of the list of defects: their text and their index, −1 for all."""
    found = [
        (f"{index + 1}: {(region.name or 'defect').replace('_', ' ')}, {region.place}, {region.area} pixels", index)
        for index, region in enumerate(regions)
    ]
    return [(ALL, -1), *found] if found else []


def caption(name: str, row: Row, judged: Finding | None = None) -> str:
    """What stands under a photo's small picture: its name, the verdict, and what was said of it."""
    said = "" if judged is None else f", {judged.value.replace('_', ' ')}"
    return f"{name}: {row.verdict.value}{said}"


def list_turns(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """A conversation as the page shows it: Gradio takes it for HTML."""
    said = [(escape(turn.question, False), escape(plain_text(turn.answer), False) or "(no answer)") for turn in turns]
    return [
        {"role": role, "content": text} for pair in said for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
