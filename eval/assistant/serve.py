"""Serves the page: on loopback unless told otherwise, with nothing from elsewhere and no file but its own."""

from __future__ import annotations

import getpass
import importlib.util
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.errors import UserError
from eval.assistant.assistant import Assistant, load_assistant
from eval.assistant.config import LOOPBACK, AppConfig
from eval.assistant.look import CSS

log = logging.getLogger(__name__)
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer"))


class Guard:
    """Between the network and the page, as ASGI has it: lets no other site in, and the page fetch nothing elsewhere.

    Args:
        app: The page.
        hosts: Names under which it may be addressed; a page of another name that points here is none of ours. Empty
            takes any.
    """

    def __init__(self, app: Callable[..., Any], hosts: tuple[str, ...] = ()) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        host = given.rpartition(":")[0] if given.rpartition(":")[2].isdigit() else given
        if self.hosts and host.strip("[]") not in self.hosts:
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"This page is served on this machine alone."})
            return

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def serve(config: AppConfig, load: Callable[[AppConfig], Assistant] = load_assistant) -> None:
    """Loads the model, serves the page, and returns when it is interrupted.

    Raises:
        UserError: If the model cannot be loaded, the port is in use, or Gradio is not installed.
    """
    config.check()
    check_address(config.host, config.port)
    check_installed()
    with served(config, load(config)) as address:
        log.info("The page is at %s (end it with Ctrl-C)", address)
        if config.host not in LOOPBACK:
            log.warning("host=%s: whoever reaches this machine can use the page.", config.host)
        try:
            while True:
                threading.Event().wait(3600)
        except KeyboardInterrupt:
            log.info("The page is closed.")


@contextmanager
def served(config: AppConfig, assistant: Assistant) -> Iterator[str]:
    """Within the block the page is served; yields its address. What was handed in is removed at its end.

    Raises:
        UserError: If the port is in use.
    """
    with tempfile.TemporaryDirectory(prefix="eiad-page-") as folder, _own_settings(Path(folder)):
        from eval.assistant.page import Page  # Gradio is slow to import, and not everybody has it

        blocks = Page(assistant, Path(folder), config.user or _login()).blocks
        blocks.queue(max_size=config.waiting)
        local = config.host in LOOPBACK
        try:
            blocks.launch(
                server_name=config.host,
                server_port=config.port or _free_port(config.host),
                share=False,
                mcp_server=False,
                allowed_paths=[],
                quiet=True,
                prevent_thread_lock=True,
                show_error=True,
                max_file_size=config.megabytes * 1_000_000,
                footer_links=[],
                ssr_mode=False,
                run_history=False,
                css=CSS,
                app_kwargs={"middleware": [_as_middleware(LOOPBACK if local else ())]},
            )
        except OSError as error:
            raise in_use(config.host, config.port) from error
        try:
            yield blocks.local_url
        finally:
            blocks.close(verbose=False)


def check_installed() -> None:
    """Says how to install what the page needs.

    Raises:
        UserError: If Gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "The page needs Gradio, which is not installed: "
            "pip install -r scripts/requirements/app.txt -c constraints.txt"
        )


def check_address(host: str, port: int) -> None:
    """Refuses an address that nothing can be served on, before a model is loaded for it.

    Raises:
        UserError: If the port is in use, or no address of this machine is called so.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (OSError, OverflowError) as error:
        raise in_use(host, port) from error


def in_use(host: str, port: int) -> UserError:
    """What to do where an address cannot be served on."""
    return UserError(
        f"Nothing can be served at {host}:{port}: the port is in use, perhaps by another page, or the address is none "
        "of this machine's. Give another port=, or port=0 for any that is free."
    )


def _login() -> str:
    """The name of the login; empty where the system does not know one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _free_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        return int(server.getsockname()[1])


@contextmanager
def _own_settings(folder: Path) -> Iterator[None]:
    """Gradio's settings are these alone, whatever the environment says: no telephone home, files below a folder."""
    outside = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    for name in outside:
        del os.environ[name]
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(folder))
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            del os.environ[name]
        os.environ.update(outside)


def _as_middleware(hosts: tuple[str, ...]) -> Any:
    from starlette.middleware import Middleware  # comes with Gradio

    return Middleware(Guard, hosts=hosts)
