"""`RUN/results.json`: the few numbers of a run that other tools read, in percent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import read_json, write_json
from data.processes.lock import held
from data.run import Run
from eval.segmentation.config import other_data, trained_data

WAIT_SECONDS = 60.0  # for another evaluation that writes them
EDDM_KEYS = ("AD", "RDL", "DC", "DFM_iou")
SEGMENTATION_KEYS = ("pixel_auroc", "pixel_f1_max", "pixel_ap", "image_auroc")


def collect_results(
    run: Run, gains: dict[str, Any] | None = None, words: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Gathers what the evaluations of a run have written so far.

    Args:
        run: The run.
        gains: Differences between its evaluations, as the report measures them; None before it has.
        words: Agreement of EDDM's words, likewise.

    Returns:
        `eddm` (AD, RDL, DC, DFM_iou) and `segmentation` (`with_eddm`, `without_eddm`, each with `mean` and
        `categories`), in percent; a part that has not been evaluated is null. `segmentation` may hold further
        evaluations under their own names. `gains` and `words` as given: null until a report of these evaluations.
    """
    exam = run.eval / "eddm.json"
    segmentation: dict[str, Any] = {"with_eddm": None, "without_eddm": None}
    segmentation |= {name: _segmentation(read_json(path)) for name, path in find_evaluations(run).items()}
    exam_figures = _pick(read_json(exam), EDDM_KEYS) if exam.is_file() else None
    return {"eddm": exam_figures, "segmentation": segmentation, "gains": gains, "words": words}


def find_evaluations(run: Run) -> dict[str, Path]:
    """The segmentation results of a run, by a name that tells the dataset where that is not the run's own.

    Files of older versions lack the dataset in their names; it is read from what they say they evaluated.
    """
    found: dict[str, Path] = {}
    for path in sorted(run.eval.glob("segmentation_*.json")):
        name, summary = path.stem.removeprefix("segmentation_"), read_json(path)
        told, trained = summary["config"], run.mdlm / str(summary.get("model")) / "config.json"
        own = trained_data(trained.parent) if trained.is_file() else ""
        missing = [] if told["name"] else other_data(told["dataset"], told["data"].get("name", ""), own)
        if missing and not name.endswith(f"_{missing[0]}"):
            found.setdefault(f"{name}_{missing[0]}", path)
        else:
            found[name] = path
    return found


def write_results(run: Run, gains: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> dict[str, Any]:
    """Writes `RUN/results.json` and returns it; see `collect_results`."""
    with held(run.results, wait=WAIT_SECONDS):  # evaluations side by side: the last one to write has seen all
        results = collect_results(run, gains, words)
        write_json(run.results, results)
    return results


def _segmentation(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "mean": _pick(summary["mean"], SEGMENTATION_KEYS),
        "categories": {name: _pick(values, SEGMENTATION_KEYS) for name, values in summary["categories"].items()},
    }


def _pick(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values.get(key) for key in keys}
