"""The model card of an export: what it is, its base, configuration, data, metrics, proof, licences, how to load it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template
from typing import Any

import yaml

from data.files import hash_file, read_json, write_text
from data.run import Run
from eval.report.page import escape_markdown
from models.mdlm.files import MANIFEST
from train.export.config import ExportConfig
from train.export.proof import Comparison
from train.export.snippets import describe_loading

NAMES = {
    "eddm": "EDDM, the dialogue module: answers questions about an image and describes its defect",
    "mdlm": "MDLM, the localization module: image and description in, anomaly map out",
}
WHOLE = "Whole models, their adapters merged in (language models in $dtype). They need no base."
ADAPTERS = "Adapters: what was trained, without the base models, which must be the very ones named here."
CARD = """---
$front
---

# EIAD: explainable industrial anomaly detection

$summary

$parts

## Base models

| Part | Base | Revision | SHA-256 of its weights |
|---|---|---|---|
$bases

## How to load it

$loading
$thoughts## Proof

A fresh process loaded this export; compared with the run's own models (`proof.json`):

| Output | Largest difference | Largest value | Allowed |
|---|---|---|---|
$proof

## Metrics

$metrics

$training
## Licence

An adapter, and more so a merged model, is bound by the licences of its base models and of the data it was trained on. \
Read those of the bases above and of the datasets in the configuration before you use or share it.
"""
THOUGHTS = """Served (by ms-swift, vLLM …), EDDM's replies begin with an empty `<think>` block, which its chat format \
writes before every answer: take what follows the last `</think>`. EIAD's own client (`chat.backend=api`) does so.

"""
METRICS = """Of the run, in percent unless a name says otherwise:

| Evaluation | Metric | Value |
|---|---|---|
"""
TRAINING = """## Training of $part

SHA-256 of what it was trained with:

$hashes

<details><summary>Configuration</summary>

```json
$settings
```

</details>
"""
Metrics = dict[str, dict[str, float | None]]


def write_card(folder: Path, run: Run, config: ExportConfig, comparisons: list[Comparison]) -> None:
    """Writes `README.md` into a proven export.

    Args:
        folder: The export; its parts have their manifests.
        run: Where it comes from.
        config: How it was exported.
        comparisons: The proof.
    """
    exports = {one: read_json(folder / one / MANIFEST)["export"] for one in NAMES if (folder / one / MANIFEST).exists()}
    bases = [(part, name, one) for part, export in exports.items() for name, one in export["bases"].items()]
    front: dict[str, Any] = {
        "license": config.license,
        "library_name": "transformers" if config.merge else "peft",
        "pipeline_tag": "image-text-to-text" if "eddm" in exports else "image-segmentation",
        "tags": ["anomaly-detection", "industrial-inspection", "zero-shot"],
    }
    if hubs := sorted({one["name"] for _, _, one in bases if one["hub"]}):
        front |= {"base_model": hubs, "base_model_relation": "finetune" if config.merge else "adapter"}
    formats = ", ".join(sorted({export["dtype"] for export in exports.values()}))
    told = {
        part: f" (trained with `{export['description']}` descriptions)"
        for part, export in exports.items()
        if part == "mdlm"
    }
    values = {
        "front": yaml.safe_dump(front, sort_keys=False).strip(),
        "summary": Template(WHOLE).substitute(dtype=formats) if config.merge else ADAPTERS,
        "parts": "\n".join(f"- `{part}/`: {NAMES[part]}{told.get(part, '')}" for part in exports),
        "bases": "\n".join(
            f"| {part}, {escape_markdown(name)} "
            f"| {escape_markdown(one['name'])}{'' if one['hub'] else ' (a local checkpoint)'} "
            f"| {escape_markdown(one['revision'] or '–')} | `{one['weights']}` |"
            for part, name, one in bases
        ),
        "loading": describe_loading(exports),
        "thoughts": THOUGHTS if config.merge and writes_thoughts(folder / "eddm") else "",
        "proof": "\n".join(
            f"| {row.part}: {row.output} | {row.largest_difference:.2e} | {row.largest_value:.2f} | {row.allowed:.2e} |"
            for row in comparisons
        ),
        "metrics": _show_metrics(read_metrics(run)),
        "training": "\n".join(
            _show_training(run, part, export.get("description", "")) for part, export in exports.items()
        ),
    }
    write_text(folder / "README.md", Template(CARD).substitute(values))


def writes_thoughts(part: Path) -> bool:
    """Whether the chat format of a part has a place for thoughts."""
    files = [path for name in ("chat_template*", "tokenizer_config.json") for path in part.rglob(name)]
    return any("</think>" in path.read_text(encoding="utf-8") for path in files)


def _show_metrics(metrics: Metrics) -> str:
    rows = [
        f"| {escape_markdown(name)} | {escape_markdown(key)} | {'–' if one is None else f'{one:.2f}'} |"
        for name, values in metrics.items()
        for key, one in values.items()
    ]
    return METRICS + "\n".join(rows) if rows else "The run was not evaluated before the export."


def _show_training(run: Run, part: str, mode: str) -> str:
    hashes = "\n".join(f"- {name}: `{value}`" for name, value in hash_data(run, part, mode).items())
    settings = json.dumps(read_settings(run, part, mode), indent=2, ensure_ascii=False)
    return Template(TRAINING).substitute(part=part.upper(), hashes=hashes, settings=settings)


def read_settings(run: Run, part: str, mode: str) -> dict[str, Any]:
    """The configuration a part was trained with, its paths shortened to what they mean elsewhere.

    Args:
        run: The run.
        part: `eddm` or `mdlm`.
        mode: Description mode of the MDLM.
    """
    settings = _read_config(run, part, mode)
    kept = {key: value for key, value in settings.items() if key not in ("fingerprint", "tracking", "run_dir")}
    return hide_paths(kept, run.path)


def _read_config(run: Run, part: str, mode: str) -> dict[str, Any]:
    if part == "mdlm":
        return read_json(run.mdlm / mode / "config.json")
    config = read_json(run.eddm / "config.json")
    return config["config"] | {"fingerprint": config["fingerprint"]}


def hide_paths(value: Any, run: Path) -> Any:
    """Writes paths inside the run as `RUN/…` and leaves other absolute ones with their last name."""
    if isinstance(value, dict):
        return {key: hide_paths(one, run) for key, one in value.items()}
    if isinstance(value, list):
        return [hide_paths(one, run) for one in value]
    if not isinstance(value, str):
        return value
    for start in (str(run), str(run.resolve())):
        if value == start or value.startswith(f"{start}/"):
            return f"RUN{value[len(start) :]}"
    last = re.split(r"[/\\]", value.rstrip("/"))[-1]
    return f"…/{last}" if re.match(r"[/~]|[A-Za-z]:[\\/]", value) else value


def hash_data(run: Run, part: str, mode: str) -> dict[str, str]:
    """SHA-256 of what a part was trained on, by name; the fingerprint stands for settings and images together."""
    settings = _read_config(run, part, mode)
    found = {"settings and data": str(settings.get("fingerprint", "not recorded"))}
    if part == "eddm":
        asked = settings.get("questions") or [run.ddqa / "train.jsonl"]
        files: list[Any] = [asked] if isinstance(asked, str) else list(asked)  # runs of an earlier version name one
        for number, file in enumerate(files, 1):
            found["questions" if len(files) == 1 else f"questions, file {number}"] = _hash(Path(file))
    elif mode == "eddm":
        told = settings.get("descriptions") or "train"
        found["descriptions"] = _hash(Path(told) if told.endswith(".jsonl") else run.descriptions / f"{told}.jsonl")
    return found


def _hash(path: Path) -> str:
    return hash_file(path) if path.is_file() else "the file is no longer in the run"


def read_metrics(run: Run) -> Metrics:
    """Figures of the run's evaluations: `results.json`, or else the files in `eval/`; empty if there are none."""
    if run.results.is_file():
        results = read_json(run.results)
        named = {"EDDM": results.get("eddm") or {}}
        named |= {f"MDLM, {name}": one.get("mean", {}) for name, one in (results.get("segmentation") or {}).items()}
    else:
        read = {path.stem: read_json(path) for path in sorted(run.eval.glob("*.json"))}
        held = {name: value for name, value in read.items() if isinstance(value, dict)}
        named = {name: one["mean"] if isinstance(one.get("mean"), dict) else one for name, one in held.items()}
    figures = {name: {key: one for key, one in values.items() if _is_figure(one)} for name, values in named.items()}
    return {name: values for name, values in figures.items() if values}


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
