"""The model card of an export: what it is, its base, configuration, data, metrics, proof, licences, how to load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from data.files import read_json, write_text
from data.run import Run
from models.mdlm.files import MANIFEST
from train.export.config import ExportConfig
from train.export.facts import hash_data, read_metrics, read_settings
from train.export.loading import describe_loading
from train.export.proof import Comparison

NAMES = {
    "eddm": "EDDM, the dialogue module: answers questions about an image and describes its defect",
    "mdlm": "MDLM, the localization module: image and description in, anomaly map out",
}
LICENCE = (
    "An adapter, and more so a merged model, is bound by the licences of its base models and of the data it was "
    "trained on. Read those of the bases above and of the datasets in the configuration before you use or share it."
)


def write_card(folder: Path, run: Run, config: ExportConfig, comparisons: list[Comparison]) -> None:
    """Writes `README.md` into a proven export.

    Args:
        folder: The export; its parts have their manifests.
        run: Where it comes from.
        config: How it was exported.
        comparisons: The proof.
    """
    exports = {
        part: read_json(folder / part / MANIFEST)["export"] for part in NAMES if (folder / part / MANIFEST).is_file()
    }
    lines = [*_front(config, exports), "# EIAD: explainable industrial anomaly detection", ""]
    lines += [_summary(config, exports), ""]
    for part, export in exports.items():
        lines += [f"- `{part}/`: {NAMES[part]}" + _told(export)]
    lines += ["", "## Base models", "", *_bases(exports), ""]
    lines += ["## How to load it", "", *describe_loading(exports), ""]
    lines += ["## Proof", "", *_proof(comparisons), ""]
    lines += ["## Metrics", "", *_metrics(run), ""]
    for part, export in exports.items():
        mode = export.get("description", "")
        lines += [f"## Training of {part.upper()}", "", "SHA-256 of what it was trained with:", ""]
        lines += [f"- {name}: `{value}`" for name, value in hash_data(run, part, mode).items()]
        settings = json.dumps(read_settings(run, part, mode), indent=2, ensure_ascii=False)
        lines += ["", "<details><summary>Configuration</summary>", "", "```json", settings, "```", "", "</details>", ""]
    lines += ["## Licence", "", LICENCE, ""]
    write_text(folder / "README.md", "\n".join(lines))


def _front(config: ExportConfig, exports: dict[str, Any]) -> list[str]:
    """What the hub reads."""
    bases = [one for export in exports.values() for one in export["bases"].values() if one["hub"]]
    front: dict[str, Any] = {
        "license": config.license,
        "library_name": "transformers" if config.merge else "peft",
        "pipeline_tag": "image-text-to-text" if "eddm" in exports else "image-segmentation",
        "tags": ["anomaly-detection", "industrial-inspection", "zero-shot"],
    }
    if bases:
        front["base_model"] = sorted({one["name"] for one in bases})
        front["base_model_relation"] = "finetune" if config.merge else "adapter"
    return ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", ""]


def _summary(config: ExportConfig, exports: dict[str, Any]) -> str:
    if config.merge:
        formats = ", ".join(sorted({export["dtype"] for export in exports.values()}))
        return f"Whole models, their adapters merged in (language models in {formats}). They need no base."
    return "Adapters: what was trained, without the base models, which must be the very ones named here."


def _told(export: dict[str, Any]) -> str:
    return f" (trained with `{export['description']}` descriptions)" if "description" in export else ""


def _bases(exports: dict[str, Any]) -> list[str]:
    rows = ["| Part | Base | Revision | SHA-256 of its weights |", "|---|---|---|---|"]
    for part, export in exports.items():
        for name, base in export["bases"].items():
            title = base["name"] if base["hub"] else f"{base['name']} (a local checkpoint)"
            rows.append(f"| {part}, {name} | {title} | {base['revision'] or '–'} | `{base['weights']}` |")
    return rows


def _proof(comparisons: list[Comparison]) -> list[str]:
    rows = ["A fresh process loaded this export; compared with the run's own models (`proof.json`):", ""]
    rows += ["| Output | Largest difference | Largest value | Allowed |", "|---|---|---|---|"]
    for row in comparisons:
        numbers = f"{row.largest_difference:.2e} | {row.largest_value:.2f} | {row.allowed:.2e}"
        rows.append(f"| {row.part}: {row.output} | {numbers} |")
    return rows


def _metrics(run: Run) -> list[str]:
    metrics = read_metrics(run)
    if not metrics:
        return ["The run was not evaluated before the export."]
    rows = [
        "Of the run, in percent unless a name says otherwise:",
        "",
        "| Evaluation | Metric | Value |",
        "|---|---|---|",
    ]
    for name, values in metrics.items():
        rows += [f"| {name} | {key} | {'–' if one is None else f'{one:.2f}'} |" for key, one in values.items()]
    return rows
