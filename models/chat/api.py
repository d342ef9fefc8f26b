"""Chat with a server that speaks OpenAI's protocol: concurrent, paced, retried; a lost answer is named, never made up.

A timeout, a broken connection, status 408, 409, 429 or 5xx, a body that is no JSON and an empty reply are tried again,
`retries` times. Then

- an empty reply is the model's answer, the empty text, which names no option and no class;
- a question that got none of those, or was refused (400), is a `Failure`;
- a server that cannot be reached any more, or fails at `give_up_after` questions in a row, ends the run with an error.

The key comes from the environment and appears in no log, file or message.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import openai
from openai.types.chat import ChatCompletion

from data.errors import UserError
from data.image_size import read_header
from data.sample import load_image
from models.chat.answers import strip_thinking
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest, Failure

MEDIA = {"PNG": "png", "JPEG": "jpeg"}  # what is sent as it is
CACHED_IMAGES = 64  # of the latest, encoded
LONGEST_PROBE = 10.0  # seconds


class _RetryError(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _EmptyReplyError(_RetryError):
    """The model said nothing."""


class _ConnectionError(_RetryError):
    """The connection broke, or there was none."""


class _Unreachable(Failure):
    """The server is gone."""


@dataclass(slots=True)
class _Pace:
    """Hands out start times."""

    per_minute: int
    next_start: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, stop: threading.Event) -> None:
        if self.per_minute <= 0:
            return
        with self.lock:
            start = max(self.next_start, time.monotonic())
            self.next_start = start + 60 / self.per_minute
        stop.wait(start - time.monotonic())


class ApiChat:
    """A `ChatModel` and a `StreamingChat` on a server."""

    def __init__(self, model: str, config: ApiConfig) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            model: The server's name of the model.
            config: The server.

        Raises:
            UserError: If OpenAI's own server is meant and there is no key.
        """
        key = os.environ.get(config.key_variable, "")
        if not key and not config.base_url:
            raise UserError(f"Set {config.key_variable} to the key, or api.base_url= to a server that needs none.")
        self._key, self.model, self.config = key, model, config
        self.name = f"{config.base_url or 'openai'}/{model}"
        self._pace = _Pace(config.requests_per_minute)
        self._client = openai.OpenAI(
            api_key=key or "none", base_url=config.base_url or None, timeout=config.timeout, max_retries=0
        )
        self._encode = lru_cache(CACHED_IMAGES)(self._encode_image)

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests.

        Raises:
            UserError: If a question got no answer; the message names it.
        """
        replies = [""] * len(requests)
        for index, reply in self.stream(requests):
            if isinstance(reply, Failure):
                raise UserError(f"No answer about {requests[index].image}: {reply.reason}. Run the command again.")
            replies[index] = reply
        return replies

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        """Yields (index, reply) as they come.

        Raises:
            UserError: If the server rejects the key, does not know the model, cannot be reached any more, or failed at
                `give_up_after` questions in a row; answers that were under way are yielded before.
        """
        stop = threading.Event()
        waiting = iter(enumerate(requests))
        running: dict[Future[str | Failure], int] = {}
        failed_in_row = 0
        pool = ThreadPoolExecutor(self.config.concurrency)
        try:
            while True:
                while len(running) < self.config.concurrency and (following := next(waiting, None)):
                    running[pool.submit(self._ask, following[1], stop)] = following[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    reply, index = future.result(), running.pop(future)
                    failed_in_row = failed_in_row + 1 if isinstance(reply, Failure) else 0
                    if isinstance(reply, _Unreachable):
                        failed_in_row = self.config.give_up_after
                    else:
                        yield index, reply
                    last = reply
                if failed_in_row >= self.config.give_up_after:
                    stop.set()  # those under way end after their attempt
                    for future, index in running.items():
                        if isinstance(reply := future.result(), str):
                            yield index, reply
                    raise UserError(self._farewell(last, failed_in_row))
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _farewell(self, last: str | Failure, failed_in_row: int) -> str:
        reason = last.reason if isinstance(last, Failure) else ""
        what = (
            "cannot be reached" if isinstance(last, _Unreachable) else f"failed at {failed_in_row} questions in a row"
        )
        return (
            f"{self.name} {what} ({reason}). What was answered is kept: see to the server, then run the same command "
            "again to ask the rest."
        )

    def _ask(self, request: ChatRequest, stop: threading.Event) -> str | Failure:
        """One question with its retries."""
        pause = self.config.backoff
        error: _RetryError | None = None
        for attempt in range(self.config.retries + 1):
            self._pace.wait(stop)
            if stop.is_set():
                return Failure(str(error or "not sent: the run was stopped"))
            try:
                return self._attempt(request)
            except _RetryError as failed:
                error = failed
                seconds = failed.after if failed.after is not None else pause * random.uniform(0.5, 1.5)
                if attempt < self.config.retries:
                    stop.wait(min(seconds, self.config.longest_wait))
                pause = min(2 * pause, self.config.longest_wait)
            except openai.BadRequestError as refused:
                return Failure(f"refused (400): {self._clean(refused)}")
        if isinstance(error, _EmptyReplyError):
            return ""
        kind = _Unreachable if isinstance(error, _ConnectionError) and not self._is_there() else Failure
        return kind(f"{error}, after {self.config.retries + 1} attempts")

    def _is_there(self) -> bool:
        """Whether anything answers at the server's address, be it an error."""
        try:
            self._client.models.list(timeout=min(self.config.timeout, LONGEST_PROBE))
        except openai.APIConnectionError:
            return False
        except (openai.APIError, ValueError):
            pass
        return True

    def _attempt(self, request: ChatRequest) -> str:
        try:
            completion: Any = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": [self._part(part) for part in request.parts]}],  # type: ignore[misc, list-item]
                max_tokens=request.max_tokens,
                temperature=0,
            )
        except openai.APITimeoutError as error:
            raise _RetryError(f"timed out after {self.config.timeout:g} s") from error
        except openai.APIConnectionError as error:
            raise _ConnectionError(f"connection failed: {self._clean(error.__cause__ or error)}") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(f"{self.name} rejects the key in {self.config.key_variable}. Set a valid one.") from error
        except openai.NotFoundError as error:
            raise UserError(f"{self.name} is not known there (404). Check mllm= and api.base_url=.") from error
        except openai.BadRequestError:
            raise  # this question's own fault
        except openai.APIStatusError as error:
            if error.status_code in (408, 409, 429) or error.status_code >= 500:
                raise _RetryError(f"status {error.status_code}", _retry_after(error)) from error
            raise UserError(
                f"{self.name}: status {error.status_code}: {self._clean(error)}. Fix the request."
            ) from error
        except (openai.APIError, ValueError) as error:  # ValueError: the body is no JSON
            raise _RetryError(f"invalid response: {self._clean(error)}") from error
        choices = getattr(completion, "choices", None)
        if not isinstance(completion, ChatCompletion) or not choices or getattr(choices[0], "message", None) is None:
            raise _RetryError("invalid response: no choices in it")
        reply = strip_thinking(choices[0].message.content or "")
        if not reply:
            raise _EmptyReplyError("empty reply")
        return reply

    def _part(self, part: str | Path) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image_url", "image_url": {"url": self._encode(part)}}

    def _encode_image(self, path: Path) -> str:
        """The image as the project sees it, as a data URL."""
        image = load_image(path)  # a corrupt file must not cost a request
        header = read_header(path)
        scale = self.config.max_side / max(image.shape[:2]) if self.config.max_side else 1.0
        kind = MEDIA.get(header.format) if header.is_plain and scale >= 1 else None
        if kind is not None:
            data = path.read_bytes()
        else:  # servers do not turn photos, and each has its own way with 16 bits and transparency
            kind = "png"
            if scale < 1:
                image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
            data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    def _clean(self, error: BaseException) -> str:
        """The first line of an error, without the key."""
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return text.replace(self._key, "***") if self._key else text


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after", "")))
    except ValueError:
        return None
