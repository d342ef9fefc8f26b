"""Chat back ends that live outside of the project: their form, their names, and what they return."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from data.plugins.trust import allow
from models.chat.config import Backend, ChatConfig, parse_backend
from models.chat.load import load_chat, load_scorer
from models.chat.own import OwnChat
from models.chat.protocol import ChatRequest

CHAT = """
class Mine:
    def __init__(self, model, device, *, end=""):
        self.name = model + end

    def chat(self, requests):
        return [f"{request.prompt} {self.name}" for request in requests]
"""
SCORING = (
    CHAT
    + """
    def score(self, requests, counts):
        return [range(count) for count in counts]
"""
)
REQUESTS = [ChatRequest(Path("a.png"), "what?"), ChatRequest(Path("b.png"), "where?")]
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Write:
    """Writes a module with a class `Mine`; returns the plug-in's name, which is allowed."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code: str, number: int = 0) -> str:
        module = f"own_chat_{abs(hash(request.node.nodeid))}_{number}"
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        allow(f"{module}:Mine")
        return f"{module}:Mine"

    return write


def test_it_answers_as_any_other(write: Write) -> None:
    name = write(CHAT)
    chat = load_chat("A", ChatConfig(backend=name, options={"end": "!"}))
    assert chat.chat(REQUESTS) == ["what? A!", "where? A!"]
    assert chat.name.startswith(f"A! ({name}@")
    with pytest.raises(UserError, match=rf"{name} has no score\(\).*Set mode=generate"):
        load_scorer(chat)


def test_its_name_tells_the_source_and_the_options(write: Write) -> None:
    one, other = write(CHAT), write(CHAT + "\nCHANGED = True\n", 1)
    names = [load_chat("A", ChatConfig(backend=name)).name.partition("@")[2] for name in (one, one, other)]
    assert names[0] == names[1] != names[2]
    empty = load_chat("A", ChatConfig(backend=one, options={"end": ""}))
    assert empty.name.partition("@")[2] != names[0]


def test_letters_are_scored_where_it_can(write: Write) -> None:
    chat = load_chat("A", ChatConfig(backend=write(SCORING)))
    scorer = load_scorer(chat)
    assert scorer.score(REQUESTS, [2, 3]) == [[0.0, 1.0], [0.0, 1.0, 2.0]]
    assert scorer.name == chat.name
    assert not hasattr(chat, "score")  # what has one is taken for a scorer


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Mine = 3\n", r"is no class but 3"),
        ("class Mine:\n    pass\n", r"lacks chat\(self, requests\)\. Add it"),
        (CHAT.replace("chat(self, requests)", "chat(self)"), r"chat\(\) cannot be called as chat\(self, requests\)"),
        (CHAT + "\n    def score(self, requests): ...\n", r"cannot be called as score\(self, requests, counts\)"),
        (CHAT.replace("model, device, *, end", "device, *, end"), r"does not take model, device and \{\}"),
        (CHAT.replace("self.name = model", "self.title = model"), r"has no name\. Set self\.name"),
    ],
)
def test_a_wrong_form_is_told_before_anything_is_asked(write: Write, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_chat("A", ChatConfig(backend=write(code)))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("'yes'", r"returned 'yes': chat\(\) must give a list of texts"),
        ("[1, 2]", "list of texts"),
        ("['a']", "1 replies"),
    ],
)
def test_wrong_replies_are_told(write: Write, returned: str, message: str) -> None:
    code = CHAT[: CHAT.index("        return")] + f"        return {returned}\n"
    with pytest.raises(UserError, match=message):
        OwnChat(write(code), "A", {}, "cpu").chat(REQUESTS)


@pytest.mark.parametrize(
    ("returned", "message"), [("3", "lists of numbers"), ("[[1.0], [2.0]]", r"scored \[1, 1\] options")]
)
def test_wrong_scores_are_told(write: Write, returned: str, message: str) -> None:
    code = SCORING[: SCORING.rindex("        return")] + f"        return {returned}\n"
    with pytest.raises(UserError, match=message):
        load_scorer(load_chat("A", ChatConfig(backend=write(code)))).score(REQUESTS, [2, 3])


def test_names_and_what_goes_with_them(write: Write) -> None:
    assert parse_backend("api") is Backend.api
    assert parse_backend("deep.mine:Mine") is Backend.own
    with pytest.raises(UserError, match=r"Unknown backend 'swfit'\. Did you mean swift\? .*, package\.module:Class\."):
        load_chat("A", ChatConfig(backend="swfit"))
    with pytest.raises(UserError, match=r"options= are those of a back end of your own, not of backend=api"):
        load_chat("A", ChatConfig(backend="api", options={"a": 1}))
    with pytest.raises(UserError, match=r"takes adapters by options\.NAME="):
        load_chat("A", ChatConfig(backend=write(CHAT), adapter="x"))
    with pytest.raises(UserError, match=r"plugins=\[never\.named:Mine\]"):
        load_chat("A", ChatConfig(backend="never.named:Mine"))
