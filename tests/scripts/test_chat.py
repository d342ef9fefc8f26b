"""A conversation through a pipe and at a terminal, with the EDDM that ships with the code."""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.talk import explain
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.full((256, 256, 3), 90, np.uint8)
    cv2.circle(pixels, (128, 128), 90, (170, 170, 170), -1)
    cv2.line(pixels, (80, 80), (110, 120), (30, 30, 30), 3)
    cv2.imwrite(str(tmp_path / "photo.png"), pixels)
    return tmp_path / "photo.png"


def pipe(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))


def test_a_pipe_gets_one_answer_a_line_and_nothing_else(
    photo: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"What is wrong?\nWhere is it?\n/ad\n\xff?\n/quit\nWhat is wrong?\n")
    what, where, is_there, *others = run_command("chat", f"image={photo}", "run=tiny").splitlines()
    assert what and where and what != where and is_there in ("Yes.", "No.")
    assert others and what not in others  # to the broken byte; what follows /quit is not asked


def test_a_line_without_an_answer_is_told_by_the_exit_code(
    photo: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"/what\nWhat is <|image_pad|>?\nWhat is wrong?")
    with pytest.raises(SystemExit) as end:
        run_command("chat", f"image={photo}", "run=tiny")
    assert end.value.code == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1 and "No shortcut /what" in told.err and "stands for images" in told.err


def test_at_a_terminal_there_is_a_prompt_and_the_help_and_ctrl_d_ends(
    photo: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    typed, prompts = iter(["What is wrong?"]), []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        if (line := next(typed, None)) is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", read)
    said = run_command("chat", f"image={photo}", "run=tiny")
    assert said.startswith(explain()) and said.removeprefix(explain()).strip() and prompts == ["> ", "> "]


def test_ctrl_c_and_an_unreadable_photo_end_as_in_other_commands(
    photo: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"")
    monkeypatch.setattr("scripts.chat.read_lines", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as end:
        run_command("chat", f"image={photo}", "run=tiny")
    assert end.value.code == 130 and "interrupted" in capsys.readouterr().err
    photo.write_bytes(b"no image")
    with pytest.raises(SystemExit) as end:
        run_command("chat", f"image={photo}", "run=tiny")
    assert end.value.code == 2 and str(photo) in capsys.readouterr().err
