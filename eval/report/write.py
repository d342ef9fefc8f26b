"""The report of a run: one self-contained HTML page, and the same facts as JSON and Markdown.

It reads what the stages left in the run directory. A part that is missing is named in the report, never hidden.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json, write_json, write_text
from data.processes.lock import held
from data.run import Run, open_run
from data.sample import Sample
from data.source import load_samples
from data.training.descriptions import load_descriptions, read_manner
from eval.gains.bootstrap import BootstrapConfig
from eval.gains.evaluations import Evaluation
from eval.gains.gain import Gain, format_delta, format_gain, format_interval
from eval.metrics.figures import TITLES, format_figure
from eval.report.calibrated import calibrated_points, read_own_calibration
from eval.report.cases import Case, GalleryConfig, choose_cases, measure_cases, operating_point, show_case
from eval.report.charts import draw_comparison, draw_curves
from eval.report.facts import (
    describe_data,
    read_configs,
    read_curves,
    read_optional,
    read_stages,
    read_versions,
)
from eval.report.gains import join_conventions, measure_gains
from eval.report.notes import find_missing, headline, limits
from eval.report.page import page_environment
from eval.report.results import find_evaluations, write_results
from eval.report.said import TITLES as SAID
from eval.report.said import measure_words
from eval.segmentation.config import evaluated_sources
from eval.segmentation.decoys import decoy_boxes
from eval.segmentation.map_store import MapStore
from eval.segmentation.prompts import shown_description
from models.contour import ContourConfig
from models.eddm.identity import identify_eddm

log = logging.getLogger(__name__)
SHOWN = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro", "image_auroc")
COLUMNS = {name: TITLES[name] for name in SHOWN}
NOT_STATED = "not stated"  # the convention of an evaluation by an older version
SECTIONS = {
    "best": ("Best", "The outlines that fit their true defect best, a few of each category."),
    "worst": ("Worst", "The outlines that fit worst, a few of each category."),
    "random": ("Drawn at random", "Defective images in the order of a seeded draw: what to expect."),
    "decoys": ("With decoys", "A harmless mark of the same kind (blue box) is not the defect that the text names."),
    "normal": ("Sound products", "First the sound images with the highest scores (nearest to a false alarm)."),
}


@dataclass(kw_only=True, slots=True)
class ReportConfig:
    """What the report shows.

    Attributes:
        run: Run directory.
        title: Headline of the page.
        gallery: Which cases are shown.
        contour: Threshold and line width of the outlines.
        bootstrap: How the intervals of differences are made.
    """

    run: str
    title: str = "Industrial inspection, explained"
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    contour: ContourConfig = field(default_factory=ContourConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)


def build_report(config: ReportConfig) -> Path:
    """Writes `RUN/report.html`, `report.json`, `report.md` and `results.json`; returns the path of the page.

    Raises:
        UserError: If there is no such run, nothing is in it, a setting is out of range, or another process writes its
            report.
    """
    config.bootstrap.check()
    run = open_run(config.run, writes=True)
    with held(run.report):
        return _build(run, config)


def _build(run: Run, config: ReportConfig) -> Path:
    _refuse_empty(run)
    facts = collect_facts(run, config)
    cases, store = _measure(run, facts, config)
    descriptions = _descriptions(run, cases, facts)
    gallery = _gallery(cases, store, descriptions, config) if store else []
    shown = facts["evaluations"].get(facts["gallery"]["evaluation"])
    calibration, facts["calibration_problem"] = read_own_calibration(run, shown) if shown else (None, "")
    facts["calibration"] = calibration.describe() if calibration else ""
    facts["operating_point"] = operating_point(cases) if cases else None
    facts["calibrated"] = [asdict(point) for point in calibrated_points(cases, calibration)]
    facts["words"] = measure_words(cases, descriptions, calibration, config.contour.threshold)
    facts["missing"] = find_missing(facts)
    facts["headline"] = headline(facts)
    facts["limits"] = limits(facts)
    write_results(run, facts["gains"], facts["words"])
    pages = page_environment(figure=format_figure, delta=format_delta, gain=format_gain, interval=format_interval)
    known = {"facts": facts, "columns": COLUMNS, "said": SAID}
    page = pages.get_template("report.html.j2").render(
        **known, gallery=gallery, charts=_charts(facts), threshold=config.contour.threshold
    )
    write_text(run.report.with_suffix(".md"), pages.get_template("report.md.j2").render(**known))
    write_json(run.report.with_suffix(".json"), {name: value for name, value in facts.items() if name != "curves"})
    write_text(run.report, page)
    log.info("Report: %s (%.1f MB)", run.report, len(page.encode()) / 1e6)
    return run.report


def _refuse_empty(run: Run) -> None:
    """Refuses a run without a training and an evaluation: its page would be empty."""
    if not (find_evaluations(run) or read_configs(run) or (run.eval / "eddm.json").is_file()):
        raise UserError(
            f"Nothing to report: {run.path} holds no training and no evaluation. Run the stages first: "
            f"python -m scripts.run_all run_dir={run.path}"
        )


def collect_facts(run: Run, config: ReportConfig) -> dict[str, Any]:
    """Everything but pictures: results, configs, data, versions and times."""
    log.info("Collecting the results of %s …", run.path)
    files = find_evaluations(run)
    evaluations = {name: {"convention": NOT_STATED, **read_json(path)} for name, path in files.items()}
    stored = {name: Evaluation(summary, files[name].with_suffix("")) for name, summary in evaluations.items()}
    gains = measure_gains(stored, SHOWN, config.bootstrap)
    configs = read_configs(run)
    main = evaluations.get("with_eddm") or next(iter(evaluations.values()), None)
    return {
        "title": config.title,
        "run": str(run.path.resolve()),
        "seed": _common(configs.values(), "seed"),
        "preset": _common(configs.values(), "preset"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "evaluations": evaluations,
        "segmentation": _compare(evaluations.get("with_eddm"), evaluations.get("without_eddm"), gains.get("eddm")),
        "gains": gains,
        "eddm": read_optional(run.eval / "eddm.json"),
        "ddqa": read_optional(run.ddqa / "counts.json"),
        "data": _describe_sides(main["config"]) if main else {},
        "stages": read_stages(run),
        "versions": read_versions(),
        "configs": configs,
        "curves": read_curves(run),
        "report_config": asdict(config),
    }


def _describe_sides(told: Mapping[str, Any]) -> dict[str, Any]:
    """The data of both sides, as the config of an evaluation names it."""
    zero_shot = told if told["dataset"] else {**told, "part": "zero_shot"}
    sides = {"Training": {**told, "dataset": "", "part": "train"}, "Zero-shot": zero_shot}
    return {name: describe_data(evaluated_sources(side)) for name, side in sides.items()}


def _common(configs: Iterable[Mapping[str, Any]], key: str) -> Any:
    """A value on which all configs that have it agree, else None."""
    found = {config[key] for config in configs if key in config}
    return found.pop() if len(found) == 1 else None


def _compare(
    with_eddm: dict[str, Any] | None, without: dict[str, Any] | None, gains: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Rows of the main table: `mean` and each category, metric → with, without, and the difference as a gain.

    `convention` is that of both sides, or that of each where they differ.
    """
    known = with_eddm or without
    if known is None:
        return None

    left, right = (summary or {"mean": {}, "categories": {}} for summary in (with_eddm, without))
    gained = gains or {"mean": {}, "categories": {}}
    categories = {
        name: {
            "images": values["images"],
            "normal": values["normal"],
            "cells": _cells(
                left["categories"].get(name, {}), right["categories"].get(name, {}), gained["categories"].get(name, {})
            ),
        }
        for name, values in known["categories"].items()
    }
    mean = _cells(left["mean"], right["mean"], gained["mean"])
    convention = join_conventions(*filter(None, (with_eddm, without)))
    return {"mean": mean, "categories": categories, "images": known["images"], "convention": convention}


def _cells(left: dict[str, Any], right: dict[str, Any], gains: dict[str, Any]) -> dict[str, dict[str, Any]]:
    none = Gain().as_json()
    return {
        metric: {"with": left.get(metric), "without": right.get(metric), **gains.get(metric, none)}
        for metric in COLUMNS
    }


def _measure(run: Run, facts: dict[str, Any], config: ReportConfig) -> tuple[list[Case], MapStore | None]:
    """Compares outlines and masks of the main evaluation; without its files there is no gallery."""
    name = next((name for name in ("with_eddm", "without_eddm") if name in facts["evaluations"]), None)
    facts["gallery"] = {"evaluation": name, "missing": None, "descriptions": None}
    if name is None:
        return [], None
    summary = facts["evaluations"][name]
    store = MapStore(find_evaluations(run)[name].with_suffix(""))
    try:
        sources = evaluated_sources(summary["config"])
        rows = {row.id: row for row in store.rows()}
        samples: list[Sample] = [sample for sample in load_samples(sources).samples if sample.id in rows]
        return measure_cases(samples, rows, store, config.contour, decoy_boxes(sources, samples)), store
    except UserError as error:
        facts["gallery"]["missing"] = str(error)
        return [], None


def _descriptions(run: Run, cases: list[Case], facts: dict[str, Any]) -> dict[str, str]:
    """What EDDM says about images whose evaluation told the model nothing; a log that does not fit is named, not shown.

    It must be by the run's own EDDM, about the images as they are, and as the run's MDLM was trained to be told.
    """
    untold = [case.sample for case in cases if not shown_description(case.row.prompt)]
    manner = read_manner(run.mdlm / "eddm")
    expected = (manner.facts() if manner else {}) | identify_eddm(run)
    found: dict[str, str] = {}
    for path in sorted(run.descriptions.glob("*.jsonl")) if untold else []:
        try:
            found |= load_descriptions(path, untold, expected)
        except UserError as error:
            facts["gallery"]["descriptions"] = str(error)
    return found


def _gallery(
    cases: list[Case], store: MapStore, descriptions: Mapping[str, str], config: ReportConfig
) -> list[dict[str, Any]]:
    chosen = choose_cases(cases, config.gallery)
    return [
        {
            "title": title,
            "about": about,
            "cases": [show_case(case, store, config.contour, config.gallery, descriptions) for case in chosen[key]],
        }
        for key, (title, about) in SECTIONS.items()
        if chosen[key]
    ]


def _charts(facts: dict[str, Any]) -> dict[str, Any]:
    table = facts["segmentation"]
    comparison = []
    if table:
        for metric, chance in (("pixel_auroc", 50.0), ("pixel_f1_max", 0.0)):
            pairs = {
                name: (row["cells"][metric]["with"], row["cells"][metric]["without"])
                for name, row in table["categories"].items()
            }
            title = f"{COLUMNS[metric]}, %"
            comparison.append(draw_comparison(pairs, title=title, names=("with EDDM", "without"), chance=chance))
    curves = [draw_curves(found, title=f"{name}: training loss") for name, found in facts["curves"].items()]
    return {"comparison": comparison, "curves": curves}
