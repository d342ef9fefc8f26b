from pathlib import Path

import pytest

from data import run as run_module
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


def test_the_word_tiny_is_the_run_that_ships_from_everywhere_and_is_only_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SHIPPED", tmp_path / "code")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"No run directory at .*code/run"):
        open_run("tiny")
    (tmp_path / "code" / "run").mkdir(parents=True)
    assert open_run("tiny").path == tmp_path / "code" / "run" and open_run("tiny").is_shipped
    for path in ("tiny", "code/run"):
        with pytest.raises(UserError, match=r"never written to.*cp -r .*code/run runs/mine"):
            open_run(path, writes=True)
    (tmp_path / "tiny").mkdir()
    with pytest.raises(UserError, match=r"Say run=\./tiny for the folder"):
        open_run("tiny")
    assert not open_run("./tiny", writes=True).is_shipped
