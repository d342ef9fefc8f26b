import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.wording import QUESTIONS, Task
from data.errors import UserError
from models.chat.protocol import ChatRequest
from models.eddm.dialogue import Dialogue
from models.eddm.eddm import EDDM
from models.talk import NO_ANSWER, TalkConfig, open_dialogue, talk


class Echo:
    """Says what it was asked; nothing to `silence`; a server that fails at `fail`."""

    name = "echo"

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        (request,) = requests
        if request.prompt == "fail":
            raise UserError("No answer about the photo: status 500.")
        return ["" if request.prompt == "silence" else f"\x1b[2J{request.prompt}"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 8, 3), np.uint8))
    return tmp_path / "photo.png"


def run(*lines: str) -> tuple[list[str], int, Dialogue]:
    said: list[str] = []
    dialogue = Dialogue(EDDM(Echo(), ()), Path("photo.png"))
    return said, talk(dialogue, [f"{line}\n" for line in lines], said.append), dialogue


def test_each_line_is_a_question_until_the_end_or_quit() -> None:
    said, faults, dialogue = run("What?", "", "  Where?  ", "silence", "/quit", "never")
    assert said == ["What?", "Where?", NO_ANSWER]  # without the codes that would clear the screen
    assert faults == 0 and len(dialogue.turns) == 3
    assert run()[0] == []


def test_shortcuts_ask_the_questions_of_ddqa(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Task, list[str]]] = []
    monkeypatch.setattr(Dialogue, "ask_task", lambda _, task, names: asked.append((task, names)) or "done")
    said, faults, _ = run("/ad", "/rdl", "/DFM", "/dc", "/dc bent rim,  rust,")
    assert said == ["done"] * 5 and faults == 0
    tasks = [Task.AD, Task.RDL, Task.DFM, Task.DC]
    assert asked == [*((task, []) for task in tasks), (Task.DC, ["bent rim", "rust"])]


def test_help_names_every_shortcut_and_its_question() -> None:
    (page,), faults, dialogue = run("/help")
    for name, task in (("/ad", Task.AD), ("/rdl", Task.RDL), ("/dfm", Task.DFM), ("/dc", Task.DC)):
        assert any(line.startswith(f"{name} ") and line.endswith(QUESTIONS[task]) for line in page.splitlines())
    assert "/quit" in page and faults == 0 and not dialogue.turns


def test_a_line_that_fails_is_told_and_the_conversation_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    said, faults, dialogue = run("/where", "/ad now", "fail", "What?")
    assert said == ["What?"] and faults == 3 and len(dialogue.turns) == 1
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told[0] == "error: No shortcut /where. There are /ad, /rdl, /dfm, /dc, /help, /quit."
    assert "/ad now" in told[1] and "status 500" in told[2]


@pytest.mark.parametrize("given", [{}, {"run": "r", "mllm": "m"}, {"run": "r", "export": "e", "mllm": "m"}])
def test_exactly_one_answers(photo: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"Give one of run=, export= and mllm="):
        open_dialogue(TalkConfig(image=str(photo), **given))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken.png", r"cannot be read: no known image format, .*\. Give another photo: image=FILE\."),
        ("missing.png", r"is no file\. Give a photo: image=FILE\."),
        ("", r"is a folder\. Give a photo: image=FILE\."),
    ],
)
def test_a_photo_that_cannot_be_read_is_told_before_a_model_is_loaded(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.talk.load_eddm", None)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=f"^image={tmp_path / name} {message}"):
        open_dialogue(TalkConfig(image=str(tmp_path / name), run="tiny"))


def test_an_export_or_any_model_may_answer(
    photo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded: list[tuple[Any, ...]] = []

    def load_export(folder: Path, **options: Any) -> EDDM:
        loaded.append((folder, options["base"], options["trust_remote_code"]))
        return EDDM(Echo(), ("dent", "hole"))

    def load_any(model: str, config: Any, **options: Any) -> Echo:
        loaded.append((model, config.backend, options["trust_remote_code"]))
        return Echo()

    monkeypatch.setattr("models.talk.load_exported_eddm", load_export)
    monkeypatch.setattr("models.talk.load_chat", load_any)
    with caplog.at_level(logging.INFO):
        exported = open_dialogue(TalkConfig(image=str(photo), export="e", eddm_base="b", trust_remote_code=True))
        other = open_dialogue(TalkConfig(image=str(photo), mllm="m", recall=0, max_tokens=5))
    assert loaded == [(Path("e/eddm"), "b", True), ("m", "transformers", False)]
    assert exported.eddm.defects == ("dent", "hole") and exported.recall == 8
    assert other.eddm.defects == () and (other.recall, other.max_tokens) == (0, 5)
    assert "with up to 8 earlier turns" in caplog.text and "alone, without earlier turns" in caplog.text
