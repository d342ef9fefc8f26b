"""Tables IV to VII of EIAD: zero-shot segmentation, and the ablation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.source import DataConfig, Source
from eval.conventions.named import ImageScore
from eval.gains.evaluations import Evaluation, compare_evaluations
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.prompts import TextSource
from eval.tables.comparison import Comparison, Ours, Pair, compare
from eval.tables.config import ReproduceConfig
from eval.tables.published import PublishedTable
from eval.tables.zero_shot import METHODS, check_published, lacking_maps, read_told

ABLATION = {"with_eddm": TextSource.eddm, "without_eddm": TextSource.fixed}
DATASETS = ("mvtec_ad", "visa")
ABLATED = ("pixel_auroc", "pixel_f1_max")


def reproduce_segmentation(config: ReproduceConfig, table: PublishedTable, dataset: str) -> Comparison:
    """One dataset: EIAD from `run`, other methods from `maps`.

    EIAD, or else each method that the paper lacks, is also set against every other row that was measured.
    """
    ours, made = {}, {}
    for method in dict.fromkeys([*table.rows, *config.maps]):
        weights, told = "", dict[str, Any]()
        try:
            if method == "eiad":
                made[method] = _run_model(config, dataset, config.root(dataset), TextSource.eddm)
            else:
                weights, told = _read_maps(config, method, dataset)
                made[method] = _score_maps(config, method, dataset, config.root(dataset))
            summary = made[method].summary
            ours[method] = Ours(
                values={column: summary["mean"][column] for column in table.columns},
                weights=weights or _weights(config, summary),
                shots=told.get("shots", 0),
                resolution=summary["resolution"],
                convention=summary["convention"],
                definition=_definition(summary) + (f"; {told['setting']}" if told.get("setting") else ""),
                title=method,
            )
        except UserError as error:
            ours[method] = Ours(missing=str(error), title=method)
    titles = {method: table.rows[method].title if method in table.rows else method for method in made}
    own = ["eiad"] if "eiad" in made else [method for method in made if method not in table.rows]
    pairs = [
        _pair(config, titles[left], titles[right], made[left], made[right], {name: name for name in table.columns})
        for left in own
        for right in made
        if right != left
    ]
    return compare(table, ours, pairs)


def _pair(
    config: ReproduceConfig, left: str, right: str, one: Evaluation, other: Evaluation, columns: Mapping[str, str]
) -> Pair:
    """Two evaluations of a dataset against each other.

    Args:
        config: How intervals are made.
        left: Title of the first.
        right: Title of the second.
        one: The first.
        other: The second.
        columns: Metric → column that shows it.
    """
    gains = compare_evaluations(one, other, tuple(columns), config.bootstrap)
    return Pair(left, right, {column: gains.mean[name] for name, column in columns.items()}, gains.missing)


def reproduce_ablation(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """EIAD with and without EDDM on two datasets; a dataset that is missing leaves its columns empty."""
    ours = {}
    made: dict[tuple[str, str], Evaluation] = {}
    for row, text in ABLATION.items():
        values: dict[str, float | None] = {}
        missing: list[str] = []
        last: Mapping[str, Any] | None = None
        for dataset in DATASETS:
            try:
                made[row, dataset] = _run_model(config, dataset, config.root(dataset), text)
            except UserError as error:
                missing.append(str(error))
                continue
            last = made[row, dataset].summary
            values |= {f"{dataset}_{name}": last["mean"][name] for name in ABLATED}
        ours[row] = Ours(
            values=values,
            weights=_weights(config, last) if last else "",
            resolution=last["resolution"] if last else "",
            convention=last["convention"] if last else "",
            definition=_definition(last) if last else "",
            missing=" ".join(missing),
        )
    left, right = ABLATION
    titles = [table.rows[row].title for row in (left, right)]
    pairs = [
        _pair(
            config,
            titles[0],
            titles[1],
            made[left, dataset],
            made[right, dataset],
            {name: f"{dataset}_{name}" for name in ABLATED},
        )
        for dataset in DATASETS
        if (left, dataset) in made and (right, dataset) in made
    ]
    return compare(table, ours, pairs)


def _run_model(config: ReproduceConfig, dataset: str, root: Path, text: TextSource) -> Evaluation:
    """Describes what EDDM has not described yet, then evaluates the MDLM that was trained with such texts."""
    run = config.need_run()
    name = f"reproduce_{dataset}"
    if text is TextSource.eddm:
        from models.eddm.describe import DescribeConfig, describe  # slow to import

        source = Source(reader=dataset, root=str(root), splits=["test"], categories=config.categories)
        describe(
            DescribeConfig(
                run=run,
                data=_no_data(),
                sources=[source],
                name=name,
                trust_remote_code=config.trust_remote_code,
                device=config.device,
                precision=config.precision,
            )
        )
    settings = _settings(
        config, dataset, root, text.value, run=run, description=text, descriptions=name, name=text.value
    )
    return Evaluation(evaluate_segmentation(settings), Path(settings.out) / f"segmentation_{text.value}")


def _read_maps(config: ReproduceConfig, method: str, dataset: str) -> tuple[str, dict[str, Any]]:
    """Which weights a method's maps were made with, and what else the maps tell of their making.

    Raises:
        UserError: If there are none, the dataset is missing, or the weights of a published method are not known.
    """
    if method in config.maps:
        folder = Path(config.maps[method]) / dataset
        told = read_told(folder)
        return (check_published(method, folder, told) if method in METHODS else ""), told
    if method not in METHODS:
        raise UserError(
            f"Anomaly maps are missing. Write them with the method's own code; then give +maps.{method}=DIR, maps in "
            f"DIR/{dataset}."
        )
    try:
        root, missing = str(config.root(dataset)), ""
    except UserError as error:
        root, missing = f"DATA/{dataset}", f" {error}"
    raise UserError(lacking_maps(method, dataset, root) + missing)


def _score_maps(config: ReproduceConfig, method: str, dataset: str, root: Path) -> Evaluation:
    changes: dict[str, Any] = {"maps": str(Path(config.maps[method]) / dataset), "name": method}
    if config.image_score in (ImageScore.model, ImageScore.half):
        changes["image_score"] = ImageScore.auto  # of maps alone nobody knows what their model says of an image
    settings = _settings(config, dataset, root, method, **changes)
    return Evaluation(evaluate_segmentation(settings), Path(settings.out))


def _settings(config: ReproduceConfig, dataset: str, root: Path, row: str, **changes: Any) -> SegmentationConfig:
    return SegmentationConfig(
        data=_no_data(),
        dataset=dataset,
        data_root=str(root),
        categories=config.categories,
        out=str(Path(config.out) / "segmentation" / dataset / row),
        engine=config.engine,
        device=config.device,
        precision=config.precision,
        batch_size=config.batch_size,
        allow_extra_maps=False,
        **(config.measure() | {"convention": config.convention} | changes),
    )


def _no_data() -> DataConfig:
    return DataConfig(train=[], zero_shot=[])


def _weights(config: ReproduceConfig, summary: Mapping[str, Any]) -> str:
    if "model_hash" in summary:
        return (
            f"{config.run} (MDLM {summary['model']}, {summary['model_hash'][:12]}; zero-shot: {summary['zero_shot']})"
        )
    return f"maps in {summary['maps']}"


def _definition(summary: Mapping[str, Any]) -> str:
    categories, images = len(summary["categories"]), summary["images"]["total"]
    return f"pixel level, mean over {categories} categories, {images} images, {summary['engine']} engine"
