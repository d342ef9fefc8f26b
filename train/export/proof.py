"""The proof of an export: a fresh process loads it, and its logits must be those of the run's own model."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file
from torch import Tensor

from data.errors import UserError
from data.files import write_json
from train.export.part import Written

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
LOUDEST_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one part, on both sides.

    Attributes:
        part: `eddm` or `mdlm`.
        output: What was compared.
        values: How many numbers.
        largest_difference: Largest absolute difference; NaN where it could not be taken.
        largest_value: Largest absolute value of the run's own model.
        allowed: The largest difference that passes.
        passed: Whether it does.
    """

    part: str
    output: str
    values: int
    largest_difference: float
    largest_value: float
    allowed: float
    passed: bool

    def to_line(self) -> str:
        """For people."""
        verdict = "same" if self.passed else "DIFFERENT"
        return (
            f"{self.part}: {self.output}: largest difference {self.largest_difference:.2e} of values up to "
            f"{self.largest_value:.2f}, allowed {self.allowed:.2e}: {verdict}"
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
    scale = float(ours.abs().max())
    allowed = share * max(1.0, scale)
    difference = float("nan")
    if theirs is not None and theirs.shape == ours.shape:
        difference = float((ours.double() - theirs.double()).abs().max())
    return Comparison(
        part=part,
        output=output,
        values=ours.numel(),
        largest_difference=difference,
        largest_value=scale,
        allowed=allowed,
        passed=difference <= allowed,  # False for NaN
    )


def run_fresh(written: Written) -> dict[str, Tensor]:
    """What the part says about the probe in a process of its own.

    Raises:
        UserError: If that process fails.
    """
    with TemporaryDirectory() as work:
        spec, found = Path(work) / "spec.json", Path(work) / "found.safetensors"
        values = {
            "kind": written.kind,
            "folder": str(written.folder.resolve()),
            "bases": written.bases,
            "trust_remote_code": written.trust_remote_code,
            "found": str(found),
        }
        write_json(spec, values)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        done = subprocess.run(
            [sys.executable, "-m", "train.export.reload", str(spec)],
            cwd=work,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not found.is_file():
            last = [line for line in done.stderr.strip().splitlines() if line.strip()][-LOUDEST_LINES:]
            raise UserError(
                f"The exported {written.kind} does not load in a fresh process (exit code {done.returncode}): "
                f"{' '.join(last)}"
            )
        return load_file(found)


def write_proof(path: Path, comparisons: list[Comparison]) -> None:
    """Writes `proof.json`."""
    import peft
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    passed = bool(comparisons) and all(row.passed for row in comparisons)
    write_json(path, {"passed": passed, "compared": [asdict(row) for row in comparisons], "versions": versions})
