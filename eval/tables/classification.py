"""Tables 1 to 5 of VELM: anomaly classification, anomaly against defect, and the parts of the prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.classes.texts import load_products
from data.errors import UserError
from data.files import read_json
from eval.classification.config import ClassificationConfig
from eval.classification.names import Names
from eval.classification.scores import read_predictions, score_all
from eval.classification.severity import SeverityReading
from eval.tables.comparison import Comparison, Ours, compare
from eval.tables.config import ReproduceConfig
from eval.tables.published import MEAN, PublishedTable, load_published
from eval.tables.velm import DDAD, uncovered_categories

Figures = Mapping[str, Mapping[str, float | None]]  # category, or `mean` → column → percent
ASK = (
    "python -m scripts.eval_classification dataset={dataset} data_root={root} expert={expert} mllm={mllm} "
    "chat.backend=api{part} out=DIR/{dataset}"
)
EXPERTS = {"oracle": "oracle", "ddad": "ddad", "patchcore": "patchcore"}
PARTS = {  # column of Table 5 → the switch that makes it
    "full": "",
    "no_reference_image": " prompt.reference=false",
    "no_visual_prompt": " prompt.visual=false",
    "no_normal_description": " prompt.normal=false",
    "no_classification_strategy": " prompt.strategy=false",
    "no_anomaly_description": " prompt.descriptions=false",
}
READINGS = {
    SeverityReading.published: "one or two classes negligible",
    SeverityReading.paper: "30 % of the classes negligible",
}


def reproduce_classification(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """Tables 1 to 3: the published predictions of DDAD + GPT-4o, the other configurations from `classified`."""
    ours: dict[str, Ours] = {}
    for method in _methods(table, config):
        ours |= _measure(config, table, method, _class_figures)
    return compare(table, ours)


def reproduce_severity(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """Table 4, by the rule that gives its figures; the rule of the paper's text gets a row of its own."""
    ours: dict[str, Ours] = {}
    for method in _methods(table, config):
        for reading, name in READINGS.items():
            rows = _measure(config, table, method, partial(_severity_figures, reading=reading))
            mean = rows[f"{method}.{MEAN}"]
            if reading is SeverityReading.published:
                ours |= rows
                if mean.values:
                    ours[f"{method}.{MEAN}"] = replace(mean, definition=f"{mean.definition}, {name}")
            elif mean.values:
                row = table.rows.get(f"{method}.{MEAN}")
                title = f"{row.title if row else mean.title}, {name}"
                ours[title] = replace(mean, title=title, definition=f"{mean.definition}, {name}")
    return compare(table, ours)


def reproduce_prompt_parts(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """Table 5: its first column from the published predictions, each other one from `classified.<column>`."""
    rows: dict[str, dict[str, float | None]] = {name: {} for name in table.rows}
    told, missing = [], []
    for column in table.columns:
        method = DDAD if column == "full" and column not in config.classified else column
        measured = _measure(config, table, method, _class_figures)
        mean = measured[f"{method}.{MEAN}"]
        missing += [f"{table.columns[column]}: {mean.missing}"] if mean.missing else []
        told += [f"{table.columns[column]}: {mean.weights}, {mean.definition}"] if mean.values else []
        for name in rows:
            part = measured.get(f"{method}.{name.split('.', 1)[1]}")
            if part is not None and part.values:
                rows[name][column] = part.values["accuracy"]
    ours = {name: Ours(values=values, shots=1, is_part=True) for name, values in rows.items()}
    last = f"{DDAD}.{MEAN}"
    ours[last] = replace(
        ours[last], is_part=False, weights="by column", definition="; ".join(told), missing=" ".join(missing)
    )
    return compare(table, ours)


def _methods(table: PublishedTable, config: ReproduceConfig) -> list[str]:
    """Configurations of the table, then those that `classified` adds; a prompt's part is one of Table 5 alone."""
    own = [name.split(".")[0] for name in table.rows]
    return list(dict.fromkeys([*own, *(name for name in config.classified if name not in PARTS)]))


def _measure(
    config: ReproduceConfig, table: PublishedTable, method: str, figures: Callable[[Mapping[str, Any]], Figures]
) -> dict[str, Ours]:
    """Rows `<method>.<category>` and `<method>.mean`; only the last when there is nothing, with the reason."""
    mean_row = f"{method}.{MEAN}"
    try:
        results, told = _results(config, method, table.dataset)
    except UserError as error:
        return {mean_row: Ours(missing=str(error), title=f"{method}, {MEAN}")}
    values = figures(results)
    shown = {name.split(".", 1)[1] for name in table.rows}
    rows = {
        f"{method}.{name}": Ours(values=row, shots=1, title=f"{method}, {name.replace('_', ' ')}", is_part=True)
        for name, row in values.items()
        if name in shown
    }
    if lacking := uncovered_categories(table.dataset, values):
        reason = f"Partial: no figures of {', '.join(lacking)}, so the mean is not compared."
        return rows | {mean_row: replace(told, values={}, missing=reason, title=f"{method}, {MEAN}")}
    return rows | {mean_row: replace(told, values=values[MEAN], title=f"{method}, {MEAN}")}


def _results(config: ReproduceConfig, method: str, dataset: str) -> tuple[dict[str, Any], Ours]:
    """What `scripts.eval_classification` writes, and how it came about.

    Raises:
        UserError: If there are neither results nor published predictions; says what makes them.
    """
    if method in config.classified:
        path = Path(config.classified[method]) / dataset / "results.json"
        if not path.is_file():
            raise UserError(f"No results at {path}. {_how(config, method, dataset)}")
        results = read_json(path)
        told = _told(results, str(path))
        _check_configuration(results, method, path)
        return results, told
    if method != DDAD:
        raise UserError(f"Its predictions are not public. {_how(config, method, dataset)}")
    root = config.root("velm")
    predictions, classes = root / f"{dataset}_preds_gpt_4o.json", root / f"{dataset}_des.json"
    settings = ClassificationConfig(
        predictions=str(predictions),
        classes=str(classes),
        dataset=dataset,
        names=Names.published,
        out=config.out,
        resamples=0,
        seed=config.seed,
        severity_seeds=list(range(5)),
    )
    products = load_products(classes)
    results = score_all(read_predictions(predictions, products), products, str(classes), settings)
    results["config"] = {"names": settings.names.value}
    return results, _told(results, f"published predictions in {predictions}")


def _check_configuration(results: Mapping[str, Any], method: str, path: Path) -> None:
    """Refuses what another expert or model made for the paper's configuration; scored replies of a file tell neither.

    Raises:
        UserError: Naming both.
    """
    made = results.get("pipeline")
    published = method in PARTS or any(name.startswith(f"{method}.") for name in _published_rows())
    if not made or not published:
        return
    expert, mllm = _configuration(method)
    if made["expert"] != expert or not re.fullmatch(rf"{re.escape(mllm)}(-\d{{4}}-\d\d-\d\d)?", made["mllm"]):
        raise UserError(
            f"missing results of {expert} and {mllm}: those at {path} are of {made['expert']} and {made['mllm']}. For "
            f"a row of their own give them another name: +classified.mine={path.parents[1]}."
        )


def _published_rows() -> list[str]:
    return [name for table in load_published().values() for name in table.rows]


def _configuration(method: str) -> tuple[str, str]:
    """Expert and model of a configuration of the paper."""
    if method in PARTS:
        return EXPERTS["ddad"], "gpt-4o"
    name, _, rest = method.partition("_")
    return EXPERTS.get(name, name), rest.replace("_", "-")


def _told(results: Mapping[str, Any], source: str) -> Ours:
    """How results came about; needs what every `results.json` of `scripts.eval_classification` holds."""
    try:
        images = sum(results["images"].values())
        definition = f"{images} images of {len(results['categories'])} categories, names={results['config']['names']}"
        definition += f", {results['unknown']['count']} replies name no class"
        made = results.get("pipeline", {})
        definition += f"; expert {made['expert']}, model {made['mllm']}" if made else ""
        size = results["config"].get("prompt", {}).get("image_size") or 448
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"Not results of scripts.eval_classification: {source} lacks {error}. Make them anew."
        ) from error
    return Ours(weights=source, shots=1, resolution=str(size), definition=definition)


def _how(config: ReproduceConfig, method: str, dataset: str) -> str:
    """The command that makes a configuration's results."""
    expert, mllm = _configuration(method)
    if expert not in EXPERTS.values():
        return f"Its figures stand as published; with results of your own give +classified.{method}=DIR."
    try:
        root, lacking = str(config.root(dataset)), ""
    except UserError as error:
        root, lacking = f"DATA/{dataset}", f"{error} "
    command = ASK.format(dataset=dataset, root=root, expert=expert, mllm=mllm, part=PARTS.get(method, ""))
    return f"{lacking}Ask the model: {command}; then give +classified.{method}=DIR."


def _class_figures(results: Mapping[str, Any]) -> Figures:
    return {**results["categories"], MEAN: results["mean"]}


def _severity_figures(results: Mapping[str, Any], reading: SeverityReading) -> Figures:
    found = results["severity"][reading.value]
    return {**found["categories"], MEAN: found["mean"]}
