"""The run directory: one layout for everything that a run writes and a later command reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "tiny" / "checkpoints"
TINY = "tiny"  # run=tiny is the EIAD that ships with the code


@dataclass(frozen=True, slots=True)
class Run:
    """`RUN/{data,ddqa,eddm,descriptions,mdlm,eval}` with `RUN/report.html` and `RUN/results.json`."""

    path: Path

    @property
    def is_shipped(self) -> bool:
        """Whether it is the one that ships with the code, which nothing is written to."""
        return self.path.resolve() == SHIPPED / "run"

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


def open_run(path: str, *, writes: bool = False) -> Run:
    """Opens an existing run.

    Args:
        path: Its directory; `tiny` is the one that ships with the code.
        writes: Whether something is to be written into it.

    Raises:
        UserError: If there is no such directory, `tiny` could mean two, or the shipped one would be written to.
    """
    run = Run(SHIPPED / "run" if path == TINY else Path(path))
    if path == TINY and Path(path).is_dir():
        raise UserError(
            f"run={TINY} is the EIAD that ships with the code, and there is a folder {TINY} here. Say run=./{TINY} for "
            f"the folder, or run={run.path} for the other."
        )
    if not run.path.is_dir():
        raise UserError(f"No run directory at {run.path}. Give run= the run_dir= of an earlier command.")
    if writes and run.is_shipped:
        raise UserError(
            f"run={path} ships with the code and is never written to. Copy it, and give run= the copy: "
            f"cp -r {run.path} runs/mine"
        )
    return run
