"""Runs a whole command in this process: its arguments, its YAML, its exit code."""

import importlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RunCommand = Callable[..., str]


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[RunCommand]:
    """`run_command("eval_mmad", "data_root=DIR", …)` does what `python -m scripts.eval_mmad …` does; returns stdout."""
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    on_end = signal.getsignal(signal.SIGTERM)

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"scripts.{name}", *arguments])
        monkeypatch.chdir(ROOT)
        importlib.import_module(f"scripts.{name}").main()
        return capsys.readouterr().out

    yield run
    signal.signal(signal.SIGTERM, on_end)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
