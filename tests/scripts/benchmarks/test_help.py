"""A benchmark that is asked for help says what it is and starts nothing; a word that it does not know ends it."""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "scripts" / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.fixture(params=NAMES)
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    module = importlib.import_module(f"scripts.benchmarks.{request.param}")

    def refuse(*words: object, **settings: object) -> None:
        raise AssertionError(f"{request.param} starts something: {words}")

    for owner, name in ((subprocess, "run"), (subprocess, "Popen"), (tempfile, "mkdtemp")):
        monkeypatch.setattr(owner, name, refuse)
    return module


def test_help_is_the_docstring_and_nothing_starts(benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--help"])
    assert ended.value.code == 0
    assert benchmark.__doc__.splitlines()[0] in capsys.readouterr().out


def test_a_word_that_it_does_not_know_ends_it(benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["--nonsense=1"])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_none_is_called_like_a_module_of_python() -> None:
    """Started by its path, a benchmark finds the others of its folder before Python's own modules."""
    assert not set(NAMES) & sys.stdlib_module_names
