"""Tables I and II of EIAD: what DDQA holds, and how hard it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig, Layout
from data.errors import UserError
from data.files import read_json, read_jsonl
from data.run import open_run
from eval.ddqa.exam import ask_all, grade
from eval.tables.comparison import Comparison, Ours, compare
from eval.tables.config import ReproduceConfig
from eval.tables.counts import SOURCES, compare_counts
from eval.tables.mmad import answer_mmad
from eval.tables.published import PublishedTable
from models.eddm.eddm import load_eddm

TASKS = {"AD": "AD", "DC": "DC", "RDL": "RDL"}
IN_MMAD = {"AD": "anomaly_discrimination", "DC": "defect_classification", "RDL": "defect_localization"}
MINICPM = "minicpm_v_2_6"


def reproduce_counts(config: ReproduceConfig) -> Comparison:
    """Table I: builds DDQA from the sources that are there and counts its questions."""
    found, missing = _sources(config)
    return compare_counts({name: _build(config, name, root) for name, root in found.items()}, missing)


def reproduce_difficulty(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """Table II: the untuned base of the run's EDDM, 0-shot, on DDQA and on MMAD."""
    ours = {}
    for row, measure in (("mmad", _on_mmad), ("ddqa", _on_ddqa)):
        try:
            ours[row] = measure(config)
        except UserError as error:
            ours[row] = Ours(missing=str(error))
    return compare(table, ours)


def _on_mmad(config: ReproduceConfig) -> Ours:
    results = answer_mmad(config, MINICPM)
    values = {task: results["mean"][column] for task, column in IN_MMAD.items()}
    return Ours(
        values=values | {"average": _mean(list(values.values()))},
        weights=results["model"],
        resolution="chosen by the model",
        definition=f"three columns of eiad.3, {results['answered']} of {results['questions']} questions",
    )


def _on_ddqa(config: ReproduceConfig) -> Ours:
    found, missing = _sources(config)
    if not found:
        raise UserError(" ".join(missing.values()))
    run = open_run(config.need_run())
    rows = []
    for name, root in found.items():
        _build(config, name, root)
        rows += [row for row in read_jsonl(_layout(config, name).rows) if row["task"] in TASKS]
    rows = _spread(rows, config.questions)
    eddm = load_eddm(run, use_adapter=False, batch_size=config.batch_size)
    marks = grade(rows, ask_all(eddm.chat, rows, config.batch_size))
    values = {"AD": marks["AD_accuracy"], "DC": marks["DC"], "RDL": marks["RDL"]}
    lost = sum(marks["unparsable"].values())
    return Ours(
        values=values | {"average": _mean(list(values.values()))},
        weights=eddm.model,
        resolution="chosen by the model",
        definition=f"accuracy on {len(rows)} questions of {', '.join(found)}; {lost} unreadable replies count as wrong",
        missing=f"Partial, without {', '.join(missing)}: {' '.join(missing.values())}" if missing else "",
    )


def _sources(config: ReproduceConfig) -> tuple[dict[str, Path], dict[str, str]]:
    found, missing = {}, {}
    for name in SOURCES:
        try:
            found[name] = config.root(name)
        except UserError as error:
            missing[name] = str(error)
    return found, missing


def _layout(config: ReproduceConfig, name: str) -> Layout:
    return Layout(Path(config.out) / "ddqa" / name, "train", published=True)


def _build(config: ReproduceConfig, name: str, root: Path) -> dict[str, int]:
    """Questions by task of one source."""
    layout = _layout(config, name)
    settings = DDQAConfig(
        preset=config.preset,
        sources=[name],
        paths={name: str(root)},
        out=str(layout.folder),
        workers=1,  # other tables may have started threads, with which a fork can hang
        seed=config.seed,
    )
    build_ddqa(settings)
    return read_json(layout.stats)[name]


def _spread(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` rows, evenly over the listing; 0 keeps all."""
    if not limit or limit >= len(rows):
        return rows
    return [rows[index * len(rows) // limit] for index in range(limit)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
