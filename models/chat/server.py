"""One exchange with a server that speaks OpenAI's protocol: bounded in time and size, its secrets told nowhere.

The whole exchange has one deadline, from the look-up of the address to the last byte of the reply, so a server that
drips holds nobody longer. A reply has a largest size and comes uncompressed, redirects are not followed. The key, and
the user, the password and the query of the address, are known here alone: `name` and every message lack them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from dataclasses import dataclass
from typing import Any

import httpx

from data.errors import UserError, printable
from models.chat.config import ApiConfig, public_url

OPENAI = "https://api.openai.com/v1"
LARGEST_REPLY = 8 * 2**20  # bytes; the longest answer asked for has some thousand
LONGEST_PROBE = 10.0  # seconds


class BrokenError(Exception):
    """An exchange failed in a way that another may not.

    Attributes:
        after: Seconds that the server asks to wait; None where it does not say.
        unconnected: Whether the connection broke, or there was none.
    """

    def __init__(self, reason: str, *, after: float | None = None, unconnected: bool = False) -> None:
        super().__init__(reason)
        self.after, self.unconnected = after, unconnected


class RefusedError(Exception):
    """The server finds fault with this one question (400)."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: httpx.Headers
    body: bytes


class Server:
    """A server; to be used in one event loop.

    Args:
        config: Its address, and how long to wait.
        key: What it wants to see; empty sends none.

    Attributes:
        name: Its address without secrets, for the name of a model.

    Raises:
        UserError: If the address is none, or the key cannot be sent.
    """

    def __init__(self, config: ApiConfig, key: str) -> None:
        self.name = public_url(config.base_url) or "openai"
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{config.key_variable} holds characters that no key has. Set it again.")
        try:
            url = httpx.URL(config.base_url or OPENAI)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise UserError(f"No address of a server: api.base_url={self.name}. Write it as http://HOST:PORT/v1.")
        self._url, self._key, self._config = url, key, config
        self._secrets = _list_secrets(url, key)
        for name in ("httpx", "httpcore"):  # which tell every request with its whole address
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=None,  # the deadline of the whole is kept here
            follow_redirects=False,
            verify=url.scheme == "https",  # else the certificates need not be read
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=config.concurrency),
        )

    async def ask(self, body: dict[str, Any]) -> str:
        """Sends a conversation and returns what the model says, perhaps the empty text.

        Raises:
            BrokenError: If another attempt may succeed.
            RefusedError: If the question is refused.
            UserError: If the server rejects the key, does not know the model, or wants something else.
        """
        try:
            reply = await self._exchange("POST", "chat/completions", self._config.timeout, json.dumps(body).encode())
        except TimeoutError:
            raise BrokenError(f"timed out after {self._config.timeout:g} s") from None
        except httpx.TransportError as error:
            reason = self._clean(str(error) or type(error).__name__)
            raise BrokenError(f"connection failed: {reason}", unconnected=True) from None
        self._check_status(reply)
        try:
            return _read_content(json.loads(reply.body))
        except (ValueError, RecursionError) as error:  # the first, too, where the body is no JSON
            raise BrokenError(f"invalid response: {self._clean(str(error))}") from None

    async def is_there(self) -> bool:
        """Whether anything answers at the address, be it an error."""
        try:
            await self._exchange("GET", "models", min(self._config.timeout, LONGEST_PROBE))
        except (TimeoutError, httpx.TransportError):
            return False
        except BrokenError:
            pass
        return True

    async def _exchange(self, method: str, place: str, seconds: float, content: bytes | None = None) -> _Reply:
        """One request and its whole reply.

        Raises:
            TimeoutError: If it took longer.
        """
        url = self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{place}")
        headers = {"Content-Type": "application/json"} if content else {}
        async with asyncio.timeout(seconds):
            async with self._client.stream(method, url, content=content, headers=headers) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise BrokenError("invalid response: compressed, which was not asked for")
                body = bytearray()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > LARGEST_REPLY:
                        raise BrokenError(f"invalid response: more than {LARGEST_REPLY >> 20} MiB")
            return _Reply(response.status_code, response.headers, bytes(body))

    def _check_status(self, reply: _Reply) -> None:
        status = reply.status
        if status == 200:
            return
        if status in (401, 403):
            raise UserError(f"{self.name} rejects the key in {self._config.key_variable}. Set a valid one.")
        if status == 404:
            raise UserError(f"{self.name} does not know the model or the path (404). Check mllm= and api.base_url=.")
        if 300 <= status < 400:
            raise UserError(
                f"{self.name}: status {status}: redirects are not followed. Set api.base_url= to the server's own "
                "address."
            )
        if status in (408, 409, 429) or status >= 500:
            raise BrokenError(f"status {status}", after=_retry_after(reply.headers))
        told = self._clean(_read_error(reply.body))
        if status == 400:
            raise RefusedError(f"refused (400): {told}")
        raise UserError(f"{self.name}: status {status}: {told}. Fix the request.")

    def _clean(self, text: str) -> str:
        """The first line of what the server or a library said, without secrets and control characters."""
        line = (text.strip().splitlines() or ["nothing"])[0]
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return printable(line[:200])


def _list_secrets(url: httpx.URL, key: str) -> list[str]:
    """What no message may hold, the longest first."""
    login = base64.b64encode(f"{url.username}:{url.password}".encode()).decode() if url.userinfo else ""
    found = {key, login, url.username, url.password, url.userinfo.decode(), url.query.decode(), *url.params.values()}
    return sorted(filter(None, found), key=len, reverse=True)


def _read_content(reply: Any) -> str:
    """The text of the first choice.

    Raises:
        ValueError: If there is none.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    message = choices[0].get("message") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else 0
    if not isinstance(message, dict):
        raise ValueError("no choices in it")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str | None):
        raise ValueError("no text in it")
    return content or ""


def _read_error(body: bytes) -> str:
    """What a server says about a request that it refuses."""
    try:
        told = json.loads(body)
        return str(told["error"]["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return body[:2000].decode(errors="replace")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the server asks to wait."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
