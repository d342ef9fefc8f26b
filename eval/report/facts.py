"""What was run: configs, versions, data and times, read from the files that the stages of a run leave behind."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value, read_json, read_jsonl
from data.run import Run
from data.source import Source, load_samples

NOT_LOSSES = {"step", "lr", "learning_rate", "grad_norm", "epoch", "seconds"}
Curve = tuple[list[float], list[float]]  # steps, values
PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "ms-swift",
    "segment-anything",
    "numpy",
    "opencv-python-headless",
)


def read_optional(path: Path) -> Any:
    """A JSON file, or None when it does not exist."""
    return read_json(path) if path.is_file() else None


def read_versions() -> dict[str, str]:
    """Versions of Python, of the packages that decide the numbers, and of this code."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {"EIAD code": _read_revision(Path(__file__).resolve().parents[2]) or "unknown"}


def _read_revision(root: Path) -> str:
    """Git's name for the code, `-dirty` when files were changed; empty outside a clone."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def read_stages(run: Run) -> list[dict[str, Any]]:
    """Seconds of each stage from `RUN/stages.json`, in the order they finished; empty without that file."""
    stages = read_optional(run.path / "stages.json") or {}
    if isinstance(stages, dict):
        return [{"stage": name, **values} for name, values in stages.items()]
    return list(stages)


def read_configs(run: Run) -> dict[str, dict[str, Any]]:
    """The resolved config of each stage that saved one, flattened to dotted keys."""
    files = {"EDDM": run.eddm / "config.json"}
    files |= {f"MDLM, {path.parent.name}": path for path in sorted(run.mdlm.glob("*/config.json"))}
    return {name: flatten(read_json(path)) for name, path in files.items() if path.is_file()}


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        name: leaf
        for key, inner in value.items()
        for name, leaf in flatten(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def read_curves(run: Run) -> dict[str, dict[str, Curve]]:
    """Loss curves: chart → curve → (steps, values).

    A row holds `loss`, or several losses by name. The stages of a base model follow one another on one axis; the
    adapters of the MDLM share theirs.
    """
    charts: dict[str, dict[str, Curve]] = {}
    logs = [("EDDM", "", run.eddm / "log.jsonl")]
    logs += [("MDLM", path.parent.name, path) for path in sorted(run.mdlm.glob("*/log.jsonl"))]
    for module, folder, path in logs:
        previous = offset = 0.0
        for row in read_jsonl(path) if path.is_file() else []:
            stage, losses = str(row.get("stage", "")), _losses(row)
            if "step" not in row or not losses:
                continue
            is_base = "base" in (folder, stage)
            if is_base and row["step"] < previous:  # the next stage counts from one again
                offset += previous
            previous = row["step"]
            chart = charts.setdefault(f"{module}, {'base' if is_base else 'adapter'}", {})
            for name, value in losses.items():
                curve = (str(row.get("part") or stage) if is_base else folder or stage) or name
                steps, values = chart.setdefault(curve if name == "loss" else name, ([], []))
                steps.append(row["step"] + (offset if is_base else 0))
                values.append(value)
    return charts


def _losses(row: dict[str, Any]) -> dict[str, float]:
    if isinstance(row.get("loss"), int | float):
        return {"loss": row["loss"]}
    return {name: value for name, value in row.items() if isinstance(value, float) and name not in NOT_LOSSES}


def describe_data(sources: Sequence[Source]) -> dict[str, Any]:
    """Counts of some sources and a hash over their sample ids and image bytes, or why they cannot be read."""
    try:
        samples = load_samples(sources).samples
        hashes = hash_files(sample.image for sample in samples)
        digest = hash_value(sorted((sample.id, hashes[sample.image]) for sample in samples))
    except (UserError, OSError) as error:
        return {"missing": str(error)}
    return {
        "images": len(samples),
        "normal": sum(sample.is_normal for sample in samples),
        "categories": sorted({sample.category for sample in samples}),
        "defects": sorted({sample.defect for sample in samples if sample.defect}),
        "sha256": digest,
    }
