import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from data.errors import UserError
from data.plugins.trust import allow
from scripts.pipeline.stages import Pipeline, Stage

ROOT = Path(__file__).resolve().parents[3]
WRITE = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"


@pytest.fixture(autouse=True)
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "write_mark.py").write_text(WRITE)
    (tmp_path / "fail_once.py").write_text("raise SystemExit('no luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def stage(tmp_path: Path, name: str, needs: tuple[str, ...] = ()) -> Stage:
    return Stage(name, ["write_mark", str(tmp_path / name)], list(needs))


def writer(tmp_path: Path, name: str, needs: tuple[str, ...] = (), **settings: object) -> Stage:
    """Writes `<name>` into the run directory and says so; `settings` stand for its composed configuration."""
    return Stage(name, ["write_mark", str(tmp_path / "run" / name)], list(needs), [name], {"name": name, **settings})


def done_of(stages: list[Stage], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Runs stages; names of those that were done already."""
    Pipeline(stages, tmp_path / "run", jobs=1).run()
    return re.findall(r"^\[(\w+)\] already done", capsys.readouterr().err, re.MULTILINE)


def test_finished_stages_are_not_run_again(tmp_path: Path) -> None:
    stages = [stage(tmp_path, "a"), stage(tmp_path, "b", ("a",))]
    for _ in range(2):
        Pipeline(stages, tmp_path / "run", jobs=2).run()
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "x"
    record = json.loads((tmp_path / "run/stages.json").read_text())
    assert set(record) == {"a", "b"}
    assert record["a"]["seconds"] >= 0


def test_a_stage_is_allowed_the_plugins_that_the_command_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allow("my.own:read")
    Pipeline([stage(tmp_path, "a")], tmp_path / "run", jobs=1).run()
    assert f"python -m write_mark {tmp_path / 'a'} plugins=[my.own:read]\n" in capsys.readouterr().err


def test_a_changed_stage_reruns_what_needs_it(tmp_path: Path) -> None:
    Pipeline([stage(tmp_path, "a"), stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    changed = Stage("a", ["write_mark", str(tmp_path / "a"), "seed=1"])
    Pipeline([changed, stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    assert (tmp_path / "b").read_text() == "xx"


def test_what_is_deleted_or_changed_is_made_again_with_what_needs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [writer(tmp_path, "a"), writer(tmp_path, "b", ("a",)), writer(tmp_path, "c")]
    assert done_of(stages, tmp_path, capsys) == []
    assert done_of(stages, tmp_path, capsys) == ["a", "b", "c"]
    (tmp_path / "run/b").unlink()
    assert done_of(stages, tmp_path, capsys) == ["a", "c"]
    assert (tmp_path / "run/b").read_text() == "x"
    (tmp_path / "run/a").write_text("y")
    assert done_of(stages, tmp_path, capsys) == ["c"]  # a writes "yx", which b has not seen
    assert done_of(stages, tmp_path, capsys) == ["a", "b", "c"]
    stages[2] = writer(tmp_path, "c", rate=2)  # the same words under an edited preset
    assert done_of(stages, tmp_path, capsys) == ["a", "b"]


def test_a_copied_run_is_done_wherever_it_lies_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [writer(tmp_path, "a"), writer(tmp_path, "b", ("a",))]
    done_of(stages, tmp_path, capsys)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    before = {path: path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    Pipeline(stages, Path(os.path.relpath(tmp_path / "copy")), jobs=1).run()
    assert capsys.readouterr().err == "[a] already done\n[b] already done\n"
    assert {path: path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()} == before


def test_what_was_made_again_as_before_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [writer(tmp_path, "a"), writer(tmp_path, "b", ("a",))]
    done_of(stages, tmp_path, capsys)
    (tmp_path / "run/a").unlink()
    assert done_of(stages, tmp_path, capsys) == ["b"]


def test_files_that_went_elsewhere_are_said_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = replace(writer(tmp_path, "a"), outputs=["elsewhere"])
    Pipeline([lost, writer(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    assert "[a] left no elsewhere" in capsys.readouterr().err
    assert done_of([lost, writer(tmp_path, "b", ("a",))], tmp_path, capsys) == ["b"]


def test_a_failure_names_the_stage_and_keeps_the_finished_ones(tmp_path: Path, capsys) -> None:
    stages = [stage(tmp_path, "a"), Stage("b", ["fail_once"], ["a"]), stage(tmp_path, "c", ("b",))]
    with pytest.raises(UserError, match=r"Stage 'b' failed \(exit code 1\)"):
        Pipeline(stages, tmp_path / "run", jobs=1).run()
    assert "[b] no luck" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    Pipeline([stages[0], stage(tmp_path, "b", ("a",))], tmp_path / "run", jobs=1).run()
    assert (tmp_path / "a").read_text() == "x"


SLEEP = "import time, pathlib, sys; pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(60)"
DRIVER = """
from pathlib import Path
from scripts.command import readable_errors
from scripts.pipeline.stages import Pipeline, Stage
folder = Path({folder!r})
with readable_errors():
    stages = [Stage("a", ["write_mark", str(folder / "a")]), Stage("b", ["sleep_long", str(folder / "up")], ["a"])]
    Pipeline(stages, folder / "run", jobs=2).run()
"""


def test_ctrl_c_ends_the_running_stage_and_keeps_the_finished_one(tmp_path: Path) -> None:
    (tmp_path / "sleep_long.py").write_text(SLEEP)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(folder=str(tmp_path))],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    started = time.monotonic()
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert "finished work is kept" in errors
    assert time.monotonic() - started < 20
    assert set(json.loads((tmp_path / "run/stages.json").read_text())) == {"a"}
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path / "up") in (p.info["cmdline"] or [])]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_stage_ends_with_a_run_that_is_killed_or_loses_its_terminal(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "sleep_long.py").write_text(SLEEP)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER.format(folder=str(tmp_path))], cwd=ROOT)
    deadline = time.monotonic() + 30
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    stages = psutil.Process(driver.pid).children(recursive=True)
    assert len(stages) == 1
    driver.send_signal(number)
    driver.wait()
    _, alive = psutil.wait_procs(stages, timeout=20)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_silent_stage_gets_a_heartbeat(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.pipeline.stages.QUIET_SECONDS", 0.3)
    (tmp_path / "nap.py").write_text("import time; time.sleep(1.5)")
    Pipeline([Stage("nap", ["nap"])], tmp_path / "run", jobs=1).run()
    assert "[nap] …" in capsys.readouterr().err
