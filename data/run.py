"""The run directory: one layout for everything that a run writes and a later command reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError


@dataclass(frozen=True, slots=True)
class Run:
    """`RUN/{data,ddqa,eddm,descriptions,mdlm,eval}` with `RUN/report.html` and `RUN/results.json`."""

    path: Path

    @property
    def data(self) -> Path:
        """Generated datasets."""
        return self.path / "data"

    @property
    def ddqa(self) -> Path:
        """Question-answer rows: `train.jsonl`, `counts.json`."""
        return self.path / "ddqa"

    @property
    def eddm(self) -> Path:
        """Dialogue module: `base/` (tiny preset), `adapter/`, `log.jsonl`."""
        return self.path / "eddm"

    @property
    def descriptions(self) -> Path:
        """Append-only description logs."""
        return self.path / "descriptions"

    @property
    def mdlm(self) -> Path:
        """Localization module: `base/` (tiny preset), then one directory per description mode."""
        return self.path / "mdlm"

    @property
    def eval(self) -> Path:
        """Evaluation results, one JSON file each."""
        return self.path / "eval"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def results(self) -> Path:
        """The results of the whole run, as JSON."""
        return self.path / "results.json"


def open_run(path: str) -> Run:
    """Opens an existing run for reading.

    Raises:
        UserError: If there is no such directory.
    """
    run = Run(Path(path))
    if not run.path.is_dir():
        raise UserError(f"No run directory at {path}. Give run= the run_dir= of an earlier command.")
    return run
