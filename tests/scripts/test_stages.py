import json
from pathlib import Path

import pytest

from data.errors import UserError
from scripts.stages import Pipeline, Stage

WRITE = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"


@pytest.fixture(autouse=True)
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "write_mark.py").write_text(WRITE)
    (tmp_path / "fail_once.py").write_text("raise SystemExit('no luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def stage(tmp_path: Path, name: str, needs: tuple[str, ...] = ()) -> Stage:
    return Stage(name, ["write_mark", str(tmp_path / name)], list(needs))


def test_finished_stages_are_not_run_again(tmp_path: Path) -> None:
    stages = [stage(tmp_path, "a"), stage(tmp_path, "b", ("a",))]
    for _ in range(2):
        Pipeline(stages, tmp_path / "run", jobs=2).run()
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "x"
    record = json.loads((tmp_path / "run/stages.json").read_text())
    assert set(record) == {"a", "b"}
    assert record["a"]["seconds"] >= 0


def test_a_changed_stage_reruns_what_needs_it(tmp_path: Path) -> None:
    Pipeline([stage(tmp_path, "a"), stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    changed = Stage("a", ["write_mark", str(tmp_path / "a"), "seed=1"])
    Pipeline([changed, stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    assert (tmp_path / "b").read_text() == "xx"


def test_a_failure_names_the_stage_and_keeps_the_finished_ones(tmp_path: Path, capsys) -> None:
    stages = [stage(tmp_path, "a"), Stage("b", ["fail_once"], ["a"]), stage(tmp_path, "c", ("b",))]
    with pytest.raises(UserError, match=r"Stage 'b' failed \(exit code 1\)"):
        Pipeline(stages, tmp_path / "run", jobs=1).run()
    assert "[b] no luck" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    Pipeline([stages[0], stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    assert (tmp_path / "a").read_text() == "x"
