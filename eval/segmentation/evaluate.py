"""Zero-shot segmentation (EIAD, Tables IV–VII) of a run's MDLM, or of maps that another method wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value
from data.ranks import Ranks, join_ranks
from data.run import Run, open_run
from data.sample import Sample
from data.source import Source, load_samples
from data.training.descriptions import choose_manner, load_descriptions, read_manner
from data.training.grounding import DescriptionMode
from eval.segmentation.config import SegmentationConfig, trained_data, trained_preset
from eval.segmentation.decoys import decoy_boxes
from eval.segmentation.driver import Eye, Job, evaluate
from eval.segmentation.file_maps import find_maps
from eval.segmentation.prompts import TextSource, evaluation_prompts
from eval.segmentation.zero_shot import check_zero_shot
from models.device import Placement
from models.eddm.identity import identify_eddm
from models.predictor import Predictor

Load = Callable[[Run, str], Predictor]


def _load_mdlm(run: Run, model: str, placement: Placement) -> Predictor:
    """Imports the models only now: a run whose maps are all there starts without them."""
    from models.mdlm.files import load_mdlm

    return load_mdlm(run, model, placement)


def evaluate_segmentation(config: SegmentationConfig, load: Load | None = None) -> dict[str, Any]:
    """Evaluates the MDLM of `run` or the maps in `maps`.

    Writes `RUN/eval/segmentation_<name>.json`, or into `out`: of a run `segmentation_<name>.json`, of maps
    `segmentation.json`, and in both cases `results.json` and the report.

    Args:
        config: What to evaluate.
        load: Loads the predictor of a run by name, None as `config` says; called only when some map is missing.

    Returns:
        The summary, as written.

    Raises:
        UserError: If the run has no such model, a category was trained on, or an image, map, mask or text is missing
            or broken.
    """
    config.check()
    ranks = join_ranks()
    return _evaluate_files(config, ranks) if config.maps else _evaluate_run(config, load, ranks)


def _evaluate_files(config: SegmentationConfig, ranks: Ranks) -> dict[str, Any]:
    def prepare() -> Job:
        listing = load_samples(config.sources())
        samples = choose_subset(config.subset, listing.samples, config.sources())
        whole = load_samples([Source(reader=config.dataset, root=config.data_root)])
        maps = find_maps(Path(config.maps), Path(config.data_root), samples, whole)
        maps.check_extra(config.allow_extra_maps)
        hashes = hash_files(maps.files.values())
        out = Path(config.out)
        return Job(
            name=config.name or Path(config.maps).name,
            samples=samples,
            keys={name: hashes[path] for name, path in maps.files.items()},
            files=maps.files,
            skipped=listing.skipped,
            left_out=len(listing.samples) - len(samples),
            facts=maps.facts(),
            store=out,
            summary=out / "segmentation.json",
            report=out,
        )

    return evaluate(ranks.once(prepare), replace(config, preset=""), ranks)


def _evaluate_run(config: SegmentationConfig, load: Load | None, ranks: Ranks) -> dict[str, Any]:
    run, model, placement = open_run(config.run, writes=not config.out), config.model_name(), config.place()
    folder = ranks.once(lambda: find_mdlm(run, model))
    numbers = [] if placement.number == "float32" else [placement.number]  # maps may differ

    def prepare() -> Job:
        listing = load_samples(config.sources())
        guard = check_zero_shot(run, folder, config.description, listing.samples) if config.zero_shot else "off"
        samples = choose_subset(config.subset, listing.samples, config.sources())
        texts = evaluation_prompts(samples, config.description, _descriptions(run, config, samples), config.seed)
        prompts = {sample.id: text for sample, text in zip(samples, texts, strict=True)}
        digest, hashes = hash_model(folder), hash_files(sample.image for sample in samples)
        name = config.result_name(trained_data(folder))
        result = (Path(config.out) if config.out else run.eval) / f"segmentation_{name}"
        told = {"description": config.description.value, "model": model, "model_hash": digest, "zero_shot": guard}
        told |= {"number_format": numbers[0]} if numbers else {}
        return Job(
            name=name,
            samples=samples,
            keys={s.id: hash_value([digest, hashes[s.image], prompts[s.id], *numbers]) for s in samples},
            prompts=prompts,
            skipped=listing.skipped,
            left_out=len(listing.samples) - len(samples),
            facts=told,
            store=result,
            summary=result.with_name(f"{result.name}.json"),
            report=Path(config.out) if config.out else None,
        )

    def open_eye() -> Eye:
        predictor = load(run, model) if load is not None else _load_mdlm(run, model, placement)
        return Eye(
            lambda samples, views, texts: predictor.predict(views, texts),
            getattr(predictor, "ready", lambda image: image),
        )

    trained = replace(config, preset=trained_preset(folder))
    return evaluate(ranks.once(prepare), trained, ranks, open_eye)


def find_mdlm(run: Run, model: str) -> Path:
    """Folder of a trained MDLM.

    Raises:
        UserError: If no MDLM has such a name, or it is not trained.
    """
    if model not in list(DescriptionMode):
        raise UserError(f"No MDLM is called '{model}'. Choose model= from {', '.join(DescriptionMode)}.")
    folder = run.mdlm / model
    if not (folder / "config.json").is_file():
        raise UserError(
            f"No trained MDLM at {folder}. Train it first: python -m scripts.train_mdlm run_dir={run.path} "
            f"description={model}"
        )
    return folder


def hash_model(folder: Path) -> str:
    """Hash of the files that make a trained model, leaving out logs and resume state.

    Raises:
        UserError: If the folder holds no weights.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".json") and "checkpoints" not in path.relative_to(folder).parts
    )
    if not any(path.suffix == ".safetensors" for path in files):
        raise UserError(f"No trained weights in {folder}: train the MDLM first (python -m scripts.train_mdlm).")
    hashes = hash_files(files)
    return hash_value([(path.relative_to(folder).as_posix(), hashes[path]) for path in files])


def _descriptions(run: Run, config: SegmentationConfig, samples: Sequence[Sample]) -> dict[str, str]:
    if config.description is not TextSource.eddm:
        return {}
    path = run.descriptions / f"{config.descriptions or config.part}.jsonl"
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Write them first: python -m scripts.describe run={run.path}")
    told = config.mode is not None or config.length is not None
    folder = run.mdlm / config.model_name()
    expected = choose_manner(folder, config.mode, config.length).facts() if told or read_manner(folder) else {}
    return load_descriptions(path, samples, expected | identify_eddm(run))


def choose_subset(subset: str, samples: Sequence[Sample], sources: Sequence[Source]) -> list[Sample]:
    """The samples that a subset names: empty, `decoys`, or a file with one sample id a line.

    Raises:
        UserError: If the file is missing or names an unknown sample, or nothing is left.
    """
    if not subset:
        return list(samples)
    if subset == "decoys":
        wanted = set(decoy_boxes(sources, samples))
        if not wanted:
            raise UserError(
                f"None of the {len(samples)} images has decoys: only datasets from scripts.make_synthetic have some."
            )
    else:
        path = Path(subset)
        if not path.is_file():
            raise UserError(f"No subset '{subset}'. Choose decoys, or a file with one sample id a line.")
        wanted = {line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
        if unknown := wanted - {sample.id for sample in samples}:
            raise UserError(f"{path} names {len(unknown)} unknown samples, first {min(unknown)}. Correct the file.")
        if not wanted:
            raise UserError(f"Empty subset file: {path}. Write one sample id a line.")
    return [sample for sample in samples if sample.id in wanted]
