"""What a model card says about a run: configuration, data and metrics, read from the run's own files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from data.files import hash_file, read_json
from data.run import Run

Metrics = dict[str, dict[str, float | None]]


def read_settings(run: Run, part: str, mode: str) -> dict[str, Any]:
    """The configuration a part was trained with, its paths shortened to what they mean elsewhere.

    Args:
        run: The run.
        part: `eddm` or `mdlm`.
        mode: Description mode of the MDLM.
    """
    if part == "eddm":
        settings = read_json(run.eddm / "config.json")["config"]
    else:
        settings = read_json(run.mdlm / mode / "config.json")
    kept = {key: value for key, value in settings.items() if key not in ("fingerprint", "tracking", "run_dir")}
    return hide_paths(kept, run.path)


def hide_paths(value: Any, run: Path) -> Any:
    """Writes paths inside the run as `RUN/…` and leaves other absolute ones with their last name."""
    if isinstance(value, dict):
        return {key: hide_paths(one, run) for key, one in value.items()}
    if isinstance(value, list):
        return [hide_paths(one, run) for one in value]
    if not isinstance(value, str) or not value:
        return value
    for start in (str(run), str(run.resolve())):
        if value == start or value.startswith(f"{start}/"):
            return f"RUN{value[len(start) :]}"
    absolute = value.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", value)
    last = re.split(r"[/\\]", value.rstrip("/"))[-1]
    return f"…/{last}" if absolute else value


def hash_data(run: Run, part: str, mode: str) -> dict[str, str]:
    """SHA-256 of what a part was trained on, by name; the fingerprint stands for settings and images together."""
    if part == "eddm":
        settings = read_json(run.eddm / "config.json")
        questions = settings["config"].get("questions") or str(run.ddqa / "train.jsonl")
        files = {"questions": Path(questions)}
    else:
        settings = read_json(run.mdlm / mode / "config.json")
        name = settings.get("descriptions") or "train"
        told = Path(name) if name.endswith(".jsonl") else run.descriptions / f"{name}.jsonl"
        files = {"descriptions": told} if mode == "eddm" else {}
    found = {"settings and data": str(settings.get("fingerprint", "not recorded"))}
    for name, path in files.items():
        found[name] = hash_file(path) if path.is_file() else "the file is no longer in the run"
    return found


def read_metrics(run: Run) -> Metrics:
    """Figures of the run's evaluations: `results.json`, or else the files in `eval/`; empty if there are none."""
    if run.results.is_file():
        results = read_json(run.results)
        named = {"EDDM": results.get("eddm") or {}}
        named |= {f"MDLM, {name}": one.get("mean", {}) for name, one in (results.get("segmentation") or {}).items()}
    else:
        named = {}
        for path in sorted(run.eval.glob("*.json")):
            value = read_json(path)
            if isinstance(value, dict):
                named[path.stem] = value["mean"] if isinstance(value.get("mean"), dict) else value
    figures = {name: {key: one for key, one in values.items() if _is_figure(one)} for name, values in named.items()}
    return {name: values for name, values in figures.items() if values}


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
