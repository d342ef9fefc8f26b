"""Anomaly classification (VELM, Sec. 4): scores a file of replies, or runs VELM's pipeline and scores what it says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from data.classes.texts import GOOD, Product, check_descriptions, load_products, shared_descriptions
from data.errors import UserError
from data.files import hash_file, hash_value, make_dir, write_json
from data.processes.lock import held
from data.run import open_run
from data.sample import Sample
from data.source import Listing, Source, load_samples
from eval.classification.config import EDDM, ClassificationConfig
from eval.classification.names import ClassNames
from eval.classification.references import choose_references
from eval.classification.report import write_classification_report
from eval.classification.scores import Prediction, log_tables, read_predictions, score_all
from eval.classification.velm import Pipeline, summarise_gate
from eval.segmentation.expert import expert_digest, fitted_ids, list_unfitted, tell_setting, use_calibrations
from eval.tables.velm import uncovered_categories
from models.chat.config import public_url
from models.chat.load import load_chat
from models.chat.protocol import ChatModel
from models.eddm.eddm import load_eddm
from models.experts.expert import Expert
from models.experts.load import UNFITTED, ExpertName, load_expert, parse_expert
from models.velm.classify import Classifier
from models.velm.draw import VisualPromptKind
from models.velm.prompt import NONE_OF_THESE, PromptStyle

log = logging.getLogger(__name__)
CLASSES = Path(__file__).resolve().parents[2] / "data" / "classes"


def run_classification(config: ClassificationConfig) -> dict[str, Any]:
    """Scores replies, writes `results.json` and logs the tables; the pipeline writes `report.html` as well.

    Raises:
        UserError: If the configuration does not go together, a file is missing or malformed, a class or category has no
            description, the expert is not fitted for a category, another process writes there, no question got an
            answer, or a server was given up.
    """
    config.check()
    with held(Path(config.out)):
        return score_file(config) if config.predictions else classify_dataset(config)


def _tell(config: ClassificationConfig) -> dict[str, Any]:
    """The configuration as a result may hold it."""
    values = asdict(config)
    values["chat"]["api"]["base_url"] = public_url(config.chat.api.base_url)
    return values


def score_file(config: ClassificationConfig) -> dict[str, Any]:
    """Scores a file of published predictions."""
    predictions_path, classes_path = Path(config.predictions), Path(config.classes)
    products = load_products(classes_path)
    predictions = read_predictions(predictions_path, products)
    out = make_dir(Path(config.out))
    result = score_all(predictions, products, config.classes, config)
    result["files"] = {str(path): hash_file(path) for path in (predictions_path, classes_path)}
    result["config"] = _tell(config) | {"names": config.names.value}
    for category, first, second in shared_descriptions(products):
        log.warning("%s: '%s' and '%s' of %s share their description.", classes_path, first, second, category)
    write_json(out / "results.json", result)
    log_tables(result)
    log.info("wrote %s", out / "results.json")
    return result


def classify_dataset(config: ClassificationConfig) -> dict[str, Any]:
    """Runs the pipeline over a dataset."""
    config = with_published_outline(with_eddm_style(config))
    classes_path = class_file(config)
    products = load_products(classes_path)
    check_descriptions(products, classes_path)
    folder = expert_folder(config)
    listing = list_samples(config, folder)
    check_classes(listing.samples, products, config, classes_path)
    categories = sorted({sample.category for sample in listing.samples})
    trusted = config.trust_remote_code
    expert = load_expert(
        config.expert, folder, trust_remote_code=trusted, where=config, saa=config.saa, clip=config.clip
    )
    expert.check(categories)
    thresholds = use_calibrations(expert, config.expert, folder, categories)
    references = find_references(config, folder, listing.samples, categories) if uses_reference(config) else {}
    classifier = Classifier(load_model(config), config.prompt, config.visual.kind, config.choice)
    out = make_dir(Path(config.out))
    pipeline = Pipeline(
        expert=expert,
        expert_digest=hash_value([expert_digest(config.expert, folder, expert), _gates(expert, categories)]),
        classifier=classifier,
        visual=config.visual,
        products=products,
        references=references,
        out=out,
        chunk=config.chunk,
    )
    log.info("%s, then %s (%s), on %d images", expert.name, config.mllm, classifier.mode.value, len(listing.samples))
    rows = pipeline.run(listing.samples)
    predictions = [Prediction(row.id, row.category, row.truth, row.name) for row in rows]
    result = score_all(predictions, products, str(classes_path), config)
    if uncovered_categories(config.dataset, categories):
        result["published"] = {}  # another product line, or a part of the dataset: nothing to compare with
    result["left_out"] = [name for name in result["left_out"] if name in categories]  # others were not asked for
    result["gate"] = summarise_gate(rows)
    result["thresholds"] = thresholds
    result["none_of_these"] = sum(row.name == NONE_OF_THESE for row in rows)
    result["pipeline"] = {
        "expert": expert.name,
        "sees_truth": expert.sees_truth,
        **tell_setting(expert),
        "mllm": classifier.chat.name,
        "choice": classifier.mode.value,
        "expert_seconds": pipeline.expert_seconds,
        "mllm_seconds": pipeline.mllm_seconds,
    }
    result["skipped"] = [{"id": sample_id, "reason": reason} for sample_id, reason in listing.skipped]
    result["files"] = {str(classes_path): hash_file(classes_path)}
    result["config"] = _tell(config)
    write_json(out / "results.json", result)
    images = {sample.id: sample.image for sample in listing.samples}
    write_classification_report(out, result, rows, products, images, config)
    log_tables(result)
    _log_pipeline(result)
    log.info("wrote %s and report.html beside it", out / "results.json")
    return result


def _gates(expert: Expert, categories: list[str]) -> list[tuple[str, float, float]]:
    return [(name, expert.gates[name].score, expert.gates[name].pixel) for name in categories]


def with_eddm_style(config: ClassificationConfig) -> ClassificationConfig:
    """EDDM is asked as it was trained: one picture, DDQA's question; the other parts of the prompt are not given."""
    if config.mllm == EDDM and config.prompt.style is not PromptStyle.ddqa:
        log.info("mllm=eddm: it reads one picture and class names, so the prompt is prompt.style=ddqa.")
        return replace(config, prompt=replace(config.prompt, style=PromptStyle.ddqa))
    return config


def with_published_outline(config: ClassificationConfig) -> ClassificationConfig:
    """`prompt.style=published` is the authors' outline, too, unless another one than the default is asked for."""
    if config.prompt.style is PromptStyle.published and config.visual.kind is VisualPromptKind.contour:
        return replace(config, visual=replace(config.visual, kind=VisualPromptKind.published))
    return config


def class_file(config: ClassificationConfig) -> Path:
    """The class descriptions: those given, or the dataset's own.

    Raises:
        UserError: If none are given and the dataset has none.
    """
    path = Path(config.classes) if config.classes else CLASSES / f"{config.dataset}.yaml"
    if not config.classes and not path.is_file():
        raise UserError(
            f"No class descriptions of '{config.dataset}' at {path}. Write them (data/classes/template.yaml shows how) "
            "and give classes=FILE."
        )
    return path


def check_dataset(config: ClassificationConfig) -> None:
    """Checks what needs no expert, before one is fitted: that the images are there, and their classes described.

    Raises:
        UserError: If a setting, the dataset, a category or a class is missing.
    """
    config.check()
    path = class_file(config)
    products = load_products(path)
    check_descriptions(products, path)
    check_classes(load_samples([_source(config)]).samples, products, config, path)


def expert_folder(config: ClassificationConfig) -> str:
    """Where the expert is; empty for the oracle, and for one that needs no fit and was given none."""
    kind, _ = parse_expert(config.expert)
    if kind is ExpertName.oracle or (kind in UNFITTED and not config.expert_dir):
        return ""
    return config.expert_dir or str(Path(config.out) / "expert")


def list_samples(config: ClassificationConfig, folder: str) -> Listing:
    """What is classified: without the images that the expert was fitted on, which are listed.

    Raises:
        UserError: If nothing is left.
    """
    listing = list_unfitted(_source(config), folder)
    if listing.skipped:
        log.info("left out by rule: %d images", len(listing.skipped))
    return listing


def _source(config: ClassificationConfig) -> Source:
    return Source(
        reader=config.dataset,
        root=config.data_root,
        splits=config.splits,
        categories=config.categories,
        skip_empty_masks=config.skip_empty_masks,
        limit=config.limit,
    )


def check_classes(
    samples: list[Sample], products: Mapping[str, Product], config: ClassificationConfig, source: Path
) -> None:
    """Refuses a category or a class without a description before anything is asked.

    Raises:
        UserError: Naming it.
    """
    for category, truth in dict.fromkeys((sample.category, sample.defect or GOOD) for sample in samples):
        if category not in products:
            raise UserError(f"No description of category '{category}' in {source}. Add it there.")
        ClassNames(products[category], config.names, str(source)).read_truth(truth)


def uses_reference(config: ClassificationConfig) -> bool:
    """Whether the prompt shows a reference image."""
    return config.prompt.reference and config.prompt.style is not PromptStyle.ddqa


def find_references(
    config: ClassificationConfig, folder: str, samples: list[Sample], categories: list[str]
) -> dict[str, Path]:
    """One normal training image a category; see `choose_references`."""
    dataset, root = config.reference_dataset or config.dataset, config.reference_root or config.data_root
    candidates = load_samples([Source(reader=dataset, root=root)]).samples
    return choose_references(categories, candidates, fitted_ids(folder), samples, config.references, config.seed)


def load_model(config: ClassificationConfig) -> ChatModel:
    """The MLLM: the EDDM of a run, or what `chat` describes."""
    if config.mllm == EDDM:
        return load_eddm(open_run(config.run), trust_remote_code=config.trust_remote_code, where=config).chat
    return load_chat(config.mllm, config.chat, trust_remote_code=config.trust_remote_code)


def _log_pipeline(result: Mapping[str, Any]) -> None:
    gate = result["gate"]
    shown = {
        name: "–" if gate[name] is None else f"{gate[name]:.1f} %"
        for name in ("normal_passed_percent", "anomalous_passed_percent")
    }
    log.info(
        "gate: %s of the normal and %s of the anomalous images passed; the MLLM was asked about %d of %d (%.1f %%)",
        shown["normal_passed_percent"],
        shown["anomalous_passed_percent"],
        gate["asked"],
        gate["images"],
        gate["asked_percent"],
    )
    if gate["nothing_marked"]:
        log.warning("flagged without a pixel above the threshold, so shown without outline: %d", gate["nothing_marked"])
    if gate["unanswered"]:
        log.warning(
            "no answer from the server, counted as unknown: %d of %d questions (%.2f %%). Run the same command again "
            "to ask them again.",
            gate["unanswered"],
            gate["asked"],
            100 * gate["unanswered"] / gate["asked"],
        )
    if result["none_of_these"]:
        log.info("answered '%s', counted as wrong: %d", NONE_OF_THESE, result["none_of_these"])
    if result["pipeline"]["sees_truth"]:
        log.warning("the expert sees the true masks: an upper bound, not a result")


__all__ = ["ClassificationConfig", "run_classification"]
