"""What a server may do to its client: nothing that takes longer, is larger or goes elsewhere than was asked for."""

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.errors import UserError
from models.chat import server as module
from models.chat.api import ApiChat
from models.chat.config import ApiConfig, public_url
from models.chat.protocol import ChatRequest, Failure
from tests.models.chat.fake_server import Server, reply  # type: ignore[import-not-found]

KEY = "secret-key-123"
ROOT = Path(__file__).parents[3]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("TEST_KEY", KEY)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def requests(tmp_path: Path) -> list[ChatRequest]:
    cv2.imwrite(str(tmp_path / "i.png"), np.zeros((8, 16, 3), np.uint8))
    return [ChatRequest(tmp_path / "i.png", f"Question {number}?", 16) for number in range(4)]


def connect(url: str, **options: Any) -> ApiChat:
    settings = {"retries": 0, "backoff": 0.01, "timeout": 5.0, "concurrency": 2, "longest_wait": 0.05} | options
    return ApiChat("m", ApiConfig(base_url=url, key_variable="TEST_KEY", **settings))


def ask(server: Server, requests: list[ChatRequest], url: str = "", **options: Any) -> str | Failure:
    [(_, found)] = list(connect(url or server.url, **options).stream(requests[:1]))
    return found


def drip(text: bytes, gone: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    """Writes a byte every 20 ms, each in time, and notices when nobody listens any more."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        try:
            for byte in text:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.02)
        except ConnectionError:
            gone.set()

    return write


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("text", [HEAD + b"X-Note: " + b"x" * 5000, HEAD + b"\r\n" + b" " * 5000])
def test_a_dripping_server_has_one_deadline(server: Server, requests: list[ChatRequest], text: bytes) -> None:
    gone = threading.Event()
    server.behave = lambda number, body: drip(text, gone)
    started = time.monotonic()
    assert ask(server, requests, timeout=0.3) == Failure("timed out after 0.3 s, after 1 attempts")
    assert time.monotonic() - started < 2
    assert gone.wait(2), "the connection was closed"


def test_whoever_stops_listening_closes_the_connections(server: Server, requests: list[ChatRequest]) -> None:
    gone = threading.Event()
    server.behave = lambda number, body: "A" if number == 1 else drip(HEAD + b"\r\n" + b" " * 5000, gone)
    stream = connect(server.url, timeout=60.0).stream(requests)
    assert next(stream) == (0, "A")
    stream.close()  # as by an error, or Ctrl-C
    assert gone.wait(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_at_once(server: Server, requests: list[ChatRequest], number: signal.Signals) -> None:
    server.behave = lambda number, body: "hang"
    code = f"""
import signal
from pathlib import Path
from models.chat.api import ApiChat
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest
for number in (signal.SIGTERM, signal.SIGINT):  # as every command does; a shell's background jobs ignore Ctrl-C
    signal.signal(number, signal.default_int_handler)
chat = ApiChat("m", ApiConfig(base_url={server.url!r}, timeout=60.0))
try:
    chat.chat([ChatRequest(Path({str(requests[0].image)!r}), "?")] * 3)
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        while len(server.bodies) < 3 and child.poll() is None:
            time.sleep(0.02)
        os.kill(child.pid, number)
        started = time.monotonic()
        said, _ = child.communicate(timeout=20)
    assert (said, child.returncode) == ("interrupted\n", 0)
    assert time.monotonic() - started < 3


def test_a_reply_has_a_largest_size(
    server: Server, requests: list[ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_REPLY", 2**20)
    sent = []

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(HEAD + b"\r\n")
        for _ in range(2**10):
            handler.wfile.write(b" " * 2**20)
            sent.append(1)

    server.behave = lambda number, body: flood
    assert ask(server, requests) == Failure("invalid response: more than 1 MiB, after 1 attempts")
    assert len(sent) < 100


def test_a_compressed_reply_is_not_unpacked(server: Server, requests: list[ChatRequest]) -> None:
    bomb = gzip.compress(b" " * 2**24)

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(HEAD + b"Content-Encoding: gzip\r\n\r\n" + bomb)

    server.behave = lambda number, body: write
    assert ask(server, requests) == Failure("invalid response: compressed, which was not asked for, after 1 attempts")
    assert server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: Server, requests: list[ChatRequest], status: int) -> None:
    other = Server()

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", f"{other.url}/chat/completions")
        handler.end_headers()

    server.behave = lambda number, body: redirect
    with pytest.raises(UserError, match=rf"status {status}: redirects are not followed\. Set api\.base_url="):
        ask(server, requests)
    assert not other.bodies
    other.close()


def test_deeply_nested_replies_are_invalid(server: Server, requests: list[ChatRequest]) -> None:
    server.behave = lambda number, body: (200, "[" * 100_000)
    found = ask(server, requests)
    assert isinstance(found, Failure) and "invalid response" in found.reason


@pytest.mark.parametrize(
    ("content", "text"),
    [([{"type": "text", "text": "B"}, {"type": "text", "text": "."}], "B."), (7, None), ({"a": 1}, None)],
)
def test_a_reply_in_parts_is_joined(server: Server, requests: list[ChatRequest], content: Any, text: Any) -> None:
    server.behave = lambda number, body: (200, json.dumps({"choices": [{"message": {"content": content}}]}))
    found = ask(server, requests)
    assert found == (text if text else Failure("invalid response: no text in it, after 1 attempts"))


def test_no_control_character_of_a_reply_reaches_a_terminal(server: Server, requests: list[ChatRequest]) -> None:
    server.behave = lambda number, body: "\x1b[2J\x1b[31mB\x1b[0m\x07\x9b\u202e.\x1b]0;owned\x07 a\n\tb\x00"
    assert ask(server, requests) == "B. a\n\tb"
    server.behave = lambda number, body: (400, json.dumps({"error": {"message": "no \x1b[2Jway"}}))
    assert ask(server, requests) == Failure("refused (400): no \\x1b[2Jway")


USER, PASSWORD, TOKEN = "inspector", "pa55-w0rd", "t0ken-xyz"


def with_secrets(server: Server) -> str:
    return server.url.replace("http://", f"http://{USER}:{PASSWORD}@") + f"?token={TOKEN}"


def test_an_address_is_told_without_its_secrets() -> None:
    assert public_url("https://u:p@host:80/v1?key=k#f") == "https://host:80/v1"
    assert public_url("http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000/v1"
    assert public_url("") == ""
    for url in ("host/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://u:p@/v1"):
        with pytest.raises(UserError, match=r"No address of a server: api\.base_url=") as caught:
            ApiChat("m", ApiConfig(base_url=url))
        assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda url: "A",
        lambda url: (400, json.dumps({"error": {"message": f"bad {url} {KEY} {PASSWORD}"}})),
        lambda url: (422, f"<html>{url} {KEY}"),
        lambda url: (401, url),
        lambda url: (404, url),
        lambda url: (500, url),
        lambda url: (200, f"{url} {KEY}"),
        lambda url: "die",
    ],
)
def test_secrets_of_the_address_are_sent_and_told_nowhere(
    server: Server, requests: list[ChatRequest], behaviour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = with_secrets(server)
    server.behave = lambda number, body: behaviour(url)
    told = [connect(url).name]
    try:
        told.append(str(ask(server, requests, url)))
    except UserError as error:
        told += [str(error), repr(error.__cause__), repr(error.__context__)]
    told += [record.getMessage() for record in caplog.records]
    for secret in (KEY, USER, PASSWORD, TOKEN):
        assert not [text for text in told if secret in text]
    assert told[0] == f"{server.url}/m"  # the name of the model, in keys and results
    assert server.paths[0] == f"/v1/chat/completions?token={TOKEN}"
    assert server.headers[0]["Authorization"].startswith("Basic ")


def test_a_server_that_is_not_there_is_named_without_secrets(requests: list[ChatRequest]) -> None:
    with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:1/v1/m cannot be reached \(connection failed") as caught:
        connect(f"http://{USER}:{PASSWORD}@127.0.0.1:1/v1?token={TOKEN}").chat(requests)
    assert not any(secret in str(caught.value) for secret in (USER, PASSWORD, TOKEN))


def test_a_key_that_cannot_be_sent_is_named_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "geheim-ü")
    with pytest.raises(UserError, match="TEST_KEY holds characters that no key has") as caught:
        connect("http://127.0.0.1:1/v1")
    assert "geheim" not in str(caught.value)
    monkeypatch.setenv("TEST_KEY", f"{KEY}\n")  # as from a file
    connect("http://127.0.0.1:1/v1")


def test_requests_leave_no_line_of_their_own_in_the_log(
    server: Server, requests: list[ChatRequest], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.behave = lambda number, body: (200, reply("A"))
    assert ask(server, requests) == "A"
    assert not caplog.records
