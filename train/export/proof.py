"""The proof of an export: a fresh process loads it, and its logits must be those of the run's own model."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from data.errors import UserError
from data.files import write_json
from data.processes.lifeline import command_line
from train.export.written import Written

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
LAST_LINES = 3  # of what a failed process says


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one part, on both sides.

    Attributes:
        part: `eddm` or `mdlm`.
        output: What was compared.
        largest_difference: Largest absolute difference; NaN where it could not be taken.
        largest_value: Largest absolute value of the run's own model.
        allowed: The largest difference that passes.
    """

    part: str
    output: str
    largest_difference: float
    largest_value: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the difference is small enough; NaN never is."""
        return self.largest_difference <= self.allowed

    def to_line(self) -> str:
        """For people."""
        return (
            f"{self.part}: {self.output}: largest difference {self.largest_difference:.2e} of values up to "
            f"{self.largest_value:.2f}, allowed {self.allowed:.2e}: {'same' if self.passed else 'DIFFERENT'}"
        )


def prove(written: Written, tolerance: float | None) -> list[Comparison]:
    """Loads a part in a fresh process and compares.

    Args:
        written: The part.
        tolerance: Largest difference as a share of the largest value; None goes by the number format.

    Returns:
        One comparison an output, passed or not.

    Raises:
        UserError: If the fresh process cannot load the part.
    """
    share = TOLERANCE[written.dtype] if tolerance is None else tolerance
    found = run_fresh(written)
    return [compare(written.kind, name, ours, found.get(name), share) for name, ours in written.reference.items()]


def compare(part: str, output: str, ours: Tensor, theirs: Tensor | None, share: float) -> Comparison:
    """Compares one output; another shape, or a value that is not finite, never passes."""
    scale, difference = float(ours.abs().max()), float("nan")
    if theirs is not None and theirs.shape == ours.shape:
        difference = float((ours.double() - theirs.double()).abs().max())
    return Comparison(
        part=part,
        output=output,
        largest_difference=difference,
        largest_value=scale,
        allowed=share * max(1.0, scale),
    )


def run_fresh(written: Written) -> dict[str, Tensor]:
    """What the part says about the probe in a process of its own, see `train.export.reload`.

    Raises:
        UserError: If that process fails.
    """
    values = {
        "kind": written.kind,
        "folder": str(written.folder.resolve()),
        "bases": written.bases,
        "trust_remote_code": written.trust_remote_code,
        "device": written.where.device,
        "precision": written.where.precision.value,
    }
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the fresh process needs the room
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with TemporaryDirectory() as work:
        found = Path(work) / "found.safetensors"
        done = subprocess.run(
            command_line(["train.export.reload", json.dumps(values), str(found)]),
            cwd=work,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and found.is_file():
            return load_file(found)
    said = " ".join([line for line in done.stderr.splitlines() if line.strip()][-LAST_LINES:])
    raise UserError(
        f"The exported {written.kind} does not load in a fresh process (exit code {done.returncode}): {said}"
    )


def write_proof(path: Path, comparisons: list[Comparison]) -> bool:
    """Writes `proof.json`; returns whether everything passed, and anything was compared."""
    import peft
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    passed = bool(comparisons) and all(row.passed for row in comparisons)
    rows = [asdict(row) | {"passed": row.passed} for row in comparisons]
    write_json(path, {"passed": passed, "compared": rows, "versions": versions})
    return passed
