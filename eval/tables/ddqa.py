"""Tables I and II of EIAD: what DDQA holds, and how hard it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from data.content import hash_samples
from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig, Layout
from data.errors import UserError
from data.files import hash_value, read_json, read_jsonl, write_json
from data.run import open_run
from data.source import Source, load_samples
from eval.ddqa.exam import ask_all, grade
from eval.metrics.figures import mean_known
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
    # DDQA first: it is built by forked workers, before any model has started threads
    for row, measure in (("ddqa", _on_ddqa), ("mmad", _on_mmad)):
        try:
            ours[row] = measure(config)
        except UserError as error:
            ours[row] = Ours(missing=str(error))
    return compare(table, ours)


def _on_mmad(config: ReproduceConfig) -> Ours:
    results = answer_mmad(config, MINICPM)
    values = {task: results["mean"][column] for task, column in IN_MMAD.items()}
    return Ours(
        values=_with_average(values),
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
    trusted = config.trust_remote_code
    eddm = load_eddm(run, use_adapter=False, batch_size=config.batch_size, trust_remote_code=trusted, where=config)
    marks = grade(rows, ask_all(eddm.chat, rows, config.batch_size))
    values = {"AD": marks["AD_accuracy"], "DC": marks["DC"], "RDL": marks["RDL"]}
    lost = sum(marks["unparsable"].values())
    return Ours(
        values=_with_average(values),
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
    """Questions by task of one source; what was built from the same images and masks is not built again."""
    layout = _layout(config, name)
    key, memory = _key(config, name, root), layout.folder / "built_from.json"
    if memory.is_file() and layout.stats.is_file() and read_json(memory) == key:
        return read_json(layout.stats)[name]
    memory.unlink(missing_ok=True)
    settings = DDQAConfig(
        sources=[name],
        paths={name: str(root)},
        out=str(layout.folder),
        workers=os.cpu_count() or 1,
        seed=config.seed,
    )
    build_ddqa(settings)
    write_json(memory, key)
    return read_json(layout.stats)[name]


def _key(config: ReproduceConfig, name: str, root: Path) -> str:
    """Names what DDQA of a source depends on: its samples with their annotations, and the seed."""
    samples = load_samples([Source(reader=name, root=str(root))]).samples
    contents = hash_samples(samples)
    told = [[s.id, s.category, s.defect, s.group, c] for s, c in zip(samples, contents, strict=True)]
    return hash_value([config.seed, told])


def _spread(rows: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """At most `limit` rows, evenly over the listing; 0 keeps all."""
    if not limit or limit >= len(rows):
        return rows
    return [rows[index * len(rows) // limit] for index in range(limit)]


def _with_average(values: dict[str, float | None]) -> dict[str, float | None]:
    """The average is over all tasks; None where one has no figure."""
    return values | {"average": None if None in values.values() else mean_known(list(values.values()))}
