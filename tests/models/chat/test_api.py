"""The client against a small server that misbehaves in the ways that servers do."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from data.errors import UserError
from data.sample import load_image
from models.chat.api import ApiChat
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest, Failure, Turn
from tests.models.chat.fake_server import Server  # type: ignore[import-not-found]

KEY = "secret-key-123"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("TEST_KEY", KEY)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "i.png"), np.zeros((8, 16, 3), np.uint8))
    return tmp_path / "i.png"


def connect(server: Server, **options: Any) -> ApiChat:
    settings = {"retries": 2, "backoff": 0.01, "timeout": 5.0, "concurrency": 2, "longest_wait": 0.05} | options
    return ApiChat("m", ApiConfig(base_url=server.url, key_variable="TEST_KEY", **settings))


def ask(image: Path, count: int = 1) -> list[ChatRequest]:
    return [ChatRequest(image, f"Question {number}?", 16) for number in range(count)]


def test_replies_come_in_the_order_of_the_requests(server: Server, image: Path) -> None:
    server.behave = lambda number, body: body["messages"][0]["content"][-1]["text"]
    assert connect(server, concurrency=4).chat(ask(image, 6)) == [f"Question {number}?" for number in range(6)]
    assert server.most <= 4
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)


def test_empty_thoughts_before_a_reply_are_no_part_of_it(server: Server, image: Path) -> None:
    server.behave = lambda number, body: "<think>\n\n</think>\n\nB"
    assert connect(server).chat(ask(image)) == ["B"]


def test_a_turn_is_sent_with_its_templates(server: Server, image: Path) -> None:
    request = ChatRequest(image, "A or B?", 16, ("Normal:", image, "Query:"))
    connect(server).chat([request])
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 16)
    parts = body["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert parts[1]["image_url"]["url"].startswith("data:image/png;base64,")


def test_earlier_turns_are_sent_in_openais_form_with_the_image_in_the_first(server: Server, image: Path) -> None:
    histories = [(), (Turn("Is there a defect?", "Yes."),), (Turn("Which?", "A dent."), Turn("Large?", "No."))]
    connect(server, concurrency=1).chat([ChatRequest(image, "Where?", 16, history=history) for history in histories])
    for body, history in zip(server.bodies, histories, strict=True):
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["user", "assistant"] * len(history) + ["user"]
        first, *others = body["messages"]
        assert [part["type"] for part in first["content"]] == ["image_url", "text"]
        said = [first["content"][1]["text"]]
        said += [m["content"] if m["role"] == "assistant" else m["content"][0]["text"] for m in others]
        assert said == [text for turn in history for text in (turn.question, turn.answer)] + ["Where?"]


def test_a_server_gets_the_picture_as_the_project_sees_it(server: Server, tmp_path: Path) -> None:
    pixels, exif = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8), Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "photo.png", format="JPEG")
    Image.fromarray(pixels).save(tmp_path / "drawing.jpg", format="PNG")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name, kind in (("turned.jpg", "png"), ("photo.png", "jpeg"), ("drawing.jpg", "png"), ("deep.png", "png")):
        connect(server).chat(ask(tmp_path / name))
        head, data = server.bodies[-1]["messages"][0]["content"][0]["image_url"]["url"].split(",")
        sent = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == f"data:image/{kind};base64" and sent.format == kind.upper()
        np.testing.assert_array_equal(np.asarray(sent), load_image(tmp_path / name))
        assert 274 not in sent.getexif()


@pytest.mark.parametrize(
    "accident",
    [
        (429, "{}"),
        (500, "{}"),
        (503, "busy"),
        "",
        None,
        (200, "{not json"),
        (200, "[]"),
        (200, '{"choices": []}'),
        "die",
    ],
)
def test_a_passing_accident_is_retried(server: Server, image: Path, accident: Any) -> None:
    server.behave = lambda number, body: accident if number == 1 else "B"
    assert connect(server).chat(ask(image)) == ["B"]
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("accident", "reason"),
    [
        ((429, "{}"), "status 429"),
        ((500, "{}"), "status 500"),
        ((200, "{not json"), "invalid response"),
        ("die", "connection failed"),
    ],
)
def test_a_lasting_accident_is_a_named_failure(server: Server, image: Path, accident: Any, reason: str) -> None:
    server.behave = lambda number, body: accident
    [(index, failure)] = list(connect(server).stream(ask(image)))
    assert index == 0
    assert isinstance(failure, Failure)
    assert reason in failure.reason
    assert "3 attempts" in failure.reason
    assert len(server.bodies) == 3


def test_a_lasting_empty_reply_is_the_answer(server: Server, image: Path) -> None:
    server.behave = lambda number, body: ["", None][number % 2]
    assert list(connect(server).stream(ask(image))) == [(0, "")]
    assert len(server.bodies) == 3


def test_a_timeout_is_retried_and_named(server: Server, image: Path) -> None:
    server.behave = lambda number, body: "hang"
    [(_, failure)] = list(connect(server, timeout=0.1, retries=1).stream(ask(image)))
    assert failure == Failure("timed out after 0.1 s, after 2 attempts")


def test_one_failure_does_not_cost_the_others(server: Server, image: Path) -> None:
    server.behave = lambda number, body: (500, "{}") if "2?" in body["messages"][0]["content"][-1]["text"] else "A"
    found = dict(connect(server).stream(ask(image, 5)))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert [index for index, one in found.items() if isinstance(one, Failure)] == [2]


def test_a_server_that_fails_again_and_again_is_given_up(server: Server, image: Path) -> None:
    server.behave = lambda number, body: "A" if number <= 3 else (500, "{}")
    chat = connect(server, concurrency=1, retries=0, give_up_after=4)
    found = {}
    with pytest.raises(UserError, match=r"failed at 4 questions in a row \(status 500, after 1 attempts\)"):
        for index, reply in chat.stream(ask(image, 30)):
            found[index] = reply
    assert [index for index, one in found.items() if one == "A"] == [0, 1, 2]
    assert sorted(found) == list(range(7))
    assert len(server.bodies) <= 3 + 4 + 1


def test_a_server_that_is_gone_is_given_up_at_once(server: Server, image: Path) -> None:
    def answer_and_go(number: int, body: dict[str, Any]) -> str:
        if number == 2:
            threading.Thread(target=server.close).start()
        return "A"

    server.behave = answer_and_go
    chat = connect(server, concurrency=1, give_up_after=20)
    found = {}
    with pytest.raises(UserError, match=r"cannot be reached \(connection failed.*run the same command again"):
        for index, reply in chat.stream(ask(image, 30)):
            found[index] = reply
    assert set(found.values()) == {"A"} and 2 <= len(found) < 10  # what was answered is there, nothing is made up


def test_a_refused_question_is_a_failure_without_retries(server: Server, image: Path) -> None:
    server.behave = lambda number, body: (400, '{"error": {"message": "too long"}}')
    [(_, failure)] = list(connect(server).stream(ask(image)))
    assert isinstance(failure, Failure)
    assert "refused (400)" in failure.reason
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "rejects the key"), (404, "does not know the model"), (422, "status 422: bad \\*\\*\\*")],
)
def test_a_wrong_setup_stops_at_once(server: Server, image: Path, status: int, message: str) -> None:
    server.behave = lambda number, body: (status, json.dumps({"error": {"message": f"bad {KEY}"}}))
    with pytest.raises(UserError, match=message) as caught:
        connect(server).chat(ask(image, 3))
    assert KEY not in str(caught.value)
    assert len(server.bodies) <= 3


def test_requests_are_paced(server: Server, image: Path) -> None:
    import time

    start = time.monotonic()
    connect(server, requests_per_minute=600, concurrency=4).chat(ask(image, 5))
    assert time.monotonic() - start >= 0.4


def test_large_images_are_reduced(server: Server, image: Path) -> None:
    import base64

    connect(server, max_side=4).chat(ask(image))
    url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (2, 4, 3)


def test_chat_names_the_question_that_failed(server: Server, image: Path) -> None:
    server.behave = lambda number, body: (500, "{}")
    with pytest.raises(UserError, match="status 500"):
        connect(server).chat(ask(image))


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        ApiChat("m", ApiConfig())
    assert ApiChat("m", ApiConfig(base_url="http://127.0.0.1:1/v1")).name == "http://127.0.0.1:1/v1/m"
