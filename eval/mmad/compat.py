"""`mode=mmad-compat`: MMAD's figures as its public scorer computes them, faults included, for comparison alone.

Faults that are kept on purpose:
- the last lone letter A to E anywhere in a reply is the choice, be it the article in "A scratch"; the scripts of LLaVA
  and Cambrian take the first;
- a reply without one is matched to the nearest option text, however far. Of the public scripts those of AnomalyGPT,
  Cambrian, LLaVA and Qwen-VL do so, and so does the later one of Qwen2.5-VL. Those of GPT-4o, Gemini, InternVL,
  MiniCPM, SPHINX and XComposer give the parser no options and stop at such a reply; here all are read alike;
- an answer that still has no letter leaves the denominator, and so does the answer after it, whatever it is, because
  the list is shortened while it is walked through;
- a column that a dataset has no answers in counts as 0 there; so does the accuracy on normal images where there are
  none, and on all where nothing was asked about anomalies: overkill and miss are 100 then; `MVTec-AD` is a dataset of
  its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from data.mmad import COLUMNS, LETTERS
from eval.mmad.answers import Answer
from eval.mmad.score import ANOMALY, FIGURES, Figure, figures_of, in_percent, mean_figure, proportion

_LONE_LETTER = re.compile(r"\b([A-E])\b")


def choose_as_published(reply: str | None, options: Sequence[str]) -> str | None:
    """The letter that the public parser takes from a reply."""
    if reply is None:
        return None
    if letters := _LONE_LETTER.findall(reply):
        return letters[-1]
    nearest = difflib.get_close_matches(reply, options, n=1, cutoff=0.0)
    return LETTERS[list(options).index(nearest[0])] if nearest else None


def keep_as_published(answers: Sequence[Answer]) -> list[Answer]:
    """The answers that the public scorer counts: neither those without a letter nor the one after each of them."""
    kept = []
    skip = False
    for answer in answers:
        if skip:
            skip = False
        elif answer.choice is None:
            skip = True
        else:
            kept.append(answer)
    return kept


def score_as_published(answers: Sequence[Answer]) -> dict[str, Any]:
    """The tables of the public scorer, in percent; the shape is that of `eval.mmad.score.score_answers`."""
    chosen = [replace(answer, choice=choose_as_published(answer.reply, answer.options)) for answer in answers]
    kept = keep_as_published(chosen)
    index = {key: place for place, key in enumerate(dict.fromkeys(answer.image for answer in answers))}
    columns = [column for column in COLUMNS if any(answer.column == column for answer in answers)]
    tables, datasets = [], {}
    for dataset in dict.fromkeys(answer.prefix for answer in answers):
        members = [answer for answer in kept if answer.prefix == dataset]
        table = _zero_missing(members, index, columns)
        tables.append(table)
        datasets[dataset] = in_percent(table, members) | {"categories": {}}
    mean = {name: mean_figure([table[name] for table in tables]) for name in FIGURES}
    result = {"mean": in_percent(mean, kept), "datasets": datasets}
    dropped = {"without a letter": sum(answer.choice is None for answer in chosen), "counted": len(kept)}
    return result | {"published_scorer": dropped | {"not counted": len(answers) - len(kept)}}


def _zero_missing(answers: Sequence[Answer], index: dict[str, int], columns: Sequence[str]) -> dict[str, Figure | None]:
    zero = Figure(0.0, np.zeros(len(index)), 0.0, 1)
    table = figures_of(answers, index)
    halves = []
    for normal, name in ((True, "overkill"), (False, "miss")):
        asked = [answer for answer in answers if answer.column == ANOMALY and answer.is_normal is normal]
        right = [answer.choice == answer.truth for answer in asked]
        half = proportion(right, [index[answer.image] for answer in asked], len(index)) or zero
        halves.append(half)
        table[name] = Figure(1 - half.value, -half.influence, half.extra, half.images)
    table[ANOMALY] = mean_figure(halves)
    for column in COLUMNS:
        table[column] = (table[column] or zero) if column in columns else None
    table["average"] = mean_figure([table[column] for column in COLUMNS])
    return table
