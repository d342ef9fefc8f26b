"""What stands between the network and the page, without the page."""

import asyncio
import importlib.util
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from eval.assistant.config import AppConfig
from eval.assistant.serve import POLICY, Guard, _own_settings, check_address, check_installed, serve


def ask(guard: Guard, host: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    asyncio.run(guard({"type": "http", "headers": [(b"host", host.encode())]}, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def page(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-page", b"1")]})
    await send({"type": "http.response.body", "body": b""})


def test_the_page_may_fetch_nothing_from_elsewhere() -> None:
    status, headers = ask(Guard(page), "anything")
    assert (status, headers["x-page"], headers["content-security-policy"]) == (200, "1", POLICY)
    assert "http" not in POLICY and "*" not in POLICY and "frame-ancestors 'none'" in POLICY


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "localhost", "[::1]:7860"])
def test_this_machines_names_are_let_in(host: str) -> None:
    assert ask(Guard(page, ("127.0.0.1", "localhost", "::1")), host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_that_points_here_is_not(host: str) -> None:
    assert ask(Guard(page, ("127.0.0.1", "localhost", "::1")), host)[0] == 400


def test_a_port_in_use_is_said_with_the_way_out_before_the_model_is_loaded() -> None:
    loads: list[AppConfig] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"127.0.0.1:{port}: the port is in use.* port=0 for any"):
            serve(AppConfig(run="tiny", port=port), loads.append)  # type: ignore[arg-type, return-value]
    assert not loads
    check_address("127.0.0.1", port)
    with pytest.raises(UserError, match="none of this machine's"):
        check_address("203.0.113.7", 7860)


def test_without_gradio_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -r scripts/requirements/app.txt -c constraints.txt"):
        check_installed()


def test_gradios_settings_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_ALLOWED_PATHS", "/")
    with _own_settings(tmp_path):
        inside = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    assert inside == {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(tmp_path)}
    assert os.environ["GRADIO_SHARE"] == "True" and "GRADIO_TEMP_DIR" not in os.environ
