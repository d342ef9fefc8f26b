from pathlib import Path

import pytest

from data.errors import UserError
from data.run import Run, open_run


def test_layout() -> None:
    run = Run(Path("r"))
    names = [run.data, run.ddqa, run.eddm, run.descriptions, run.mdlm, run.eval, run.report, run.results]
    assert [path.name for path in names] == [
        *("data", "ddqa", "eddm", "descriptions", "mdlm", "eval"),
        "report.html",
        "results.json",
    ]


def test_a_missing_run_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No run directory at"):
        open_run(str(tmp_path / "none"))
