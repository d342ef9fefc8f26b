"""Chat with a server that speaks OpenAI's protocol: concurrent, paced, retried; a lost answer is named, never made up.

A timeout, a broken connection, status 408, 409, 429 or 5xx, a body that is no JSON and an empty reply are tried again,
`retries` times. Then

- an empty reply is the model's answer, the empty text, which names no option and no class;
- a question that got none of those, or was refused (400), is a `Failure`;
- a server that cannot be reached any more, or fails at `give_up_after` questions in a row, ends the run with an error.

All exchanges run in one thread of their own, so an answer that is written down meanwhile holds none of them; whoever is
interrupted closes them at once. The key comes from the environment and appears in no log, file or message.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2

from data.errors import UserError
from data.image_size import read_header
from data.sample import load_image
from models.chat.answers import plain_text, strip_thinking
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest, Failure
from models.chat.server import BrokenError, RefusedError, Server

MEDIA = {"PNG": "png", "JPEG": "jpeg"}  # what is sent as it is
CACHED_IMAGES = 64  # of the latest, encoded
AHEAD = 4  # answers that may wait to be taken, per request under way


class ApiChat:
    """A `ChatModel` and a `StreamingChat` on a server."""

    def __init__(self, model: str, config: ApiConfig) -> None:
        """Prepares the client; nothing is sent yet.

        Args:
            model: The server's name of the model.
            config: The server.

        Raises:
            UserError: If OpenAI's own server is meant and there is no key, or the address is none.
        """
        key = os.environ.get(config.key_variable, "").strip()
        if not key and not config.base_url:
            raise UserError(f"Set {config.key_variable} to the key, or api.base_url= to a server that needs none.")
        self.model, self.config = model, config
        self._server = Server(config, key)
        self.name = f"{self._server.name}/{model}"
        self._images: dict[Path, asyncio.Future[str]] = {}
        self._next_start = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

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
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="chat", daemon=True).start()
            weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        taken: SimpleQueue[tuple[int, str | Failure] | BaseException | None] = SimpleQueue()
        run = asyncio.run_coroutine_threadsafe(_Round(self, requests, taken).run(), self._loop)
        try:
            while (found := taken.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            run.cancel()  # closes what is still open

    async def ask(self, request: ChatRequest, stop: asyncio.Event) -> tuple[str | Failure, bool]:
        """One question with its retries, and whether the server is gone."""
        pause, limit = self.config.backoff, self.config.longest_wait
        error: BrokenError | None = None
        for attempt in range(self.config.retries + 1):
            await self._wait_for_turn(stop)
            if stop.is_set():
                return Failure(str(error or "not sent: the run was stopped")), False
            try:
                reply = plain_text(strip_thinking(await self._server.ask(await self._body(request))))
                if reply:
                    return reply, False
                error = None
            except RefusedError as refused:
                return Failure(str(refused)), False
            except BrokenError as broken:
                error = broken
            if attempt < self.config.retries:
                asked = error.after if error else None
                await _wait(stop, min(pause * random.uniform(0.5, 1.5) if asked is None else asked, limit))
            pause = min(2 * pause, limit)
        if error is None:
            return "", False  # the model said nothing
        gone = error.unconnected and not await self._server.is_there()
        return Failure(f"{error}, after {self.config.retries + 1} attempts"), gone

    async def _wait_for_turn(self, stop: asyncio.Event) -> None:
        """Hands out start times."""
        if self.config.requests_per_minute > 0:
            now = time.monotonic()
            start = max(self._next_start, now)
            self._next_start = start + 60 / self.config.requests_per_minute
            await _wait(stop, start - now)

    async def _body(self, request: ChatRequest) -> dict[str, Any]:
        messages = [
            {"role": role, "content": parts[0] if role == "assistant" else [await self._part(part) for part in parts]}
            for role, parts in request.messages
        ]
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": request.max_tokens,
            "temperature": 0,
        }

    async def _part(self, part: str | Path) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        self.prepare([part])
        return {"type": "image_url", "image_url": {"url": await asyncio.shield(self._images[part])}}

    def prepare(self, paths: Sequence[Path]) -> None:
        """Begins to encode images; the questions about one image share the work."""
        for path in paths:
            if path not in self._images:
                encoded = asyncio.ensure_future(asyncio.to_thread(encode_image, path, self.config.max_side))
                encoded.add_done_callback(lambda done: done.cancelled() or done.exception())  # told by who needs it
                self._images[path] = encoded
                if len(self._images) > CACHED_IMAGES:
                    del self._images[next(iter(self._images))]


class _Round:
    """The requests of one call: as many under way as the configuration says.

    Args:
        chat: Asks.
        requests: What.
        taken: Gets (index, reply) as they come, then None, or the error that ends the round.
    """

    def __init__(
        self,
        chat: ApiChat,
        requests: Sequence[ChatRequest],
        taken: SimpleQueue[tuple[int, str | Failure] | BaseException | None],
    ) -> None:
        self._chat, self._requests, self._taken = chat, requests, taken
        self._waiting = iter(enumerate(requests))
        self._stop = asyncio.Event()
        self._failed_in_row = 0
        self._farewell = ""

    async def run(self) -> None:
        """Asks everything, or until the server is given up."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._chat.config.concurrency):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            self._taken.put(errors.exceptions[0])
        else:
            self._taken.put(UserError(self._farewell) if self._farewell else None)

    async def _work(self) -> None:
        """One request after the other; those under way when the server is given up end after their attempt."""
        config = self._chat.config
        for index, request in self._waiting:
            for following in self._requests[index + 1 : index + 1 + config.concurrency]:
                self._chat.prepare(following.images)
            reply, gone = await self._chat.ask(request, self._stop)
            failed = isinstance(reply, Failure)
            if not failed or not (gone or self._stop.is_set()):
                self._taken.put((index, reply))
            self._failed_in_row = self._failed_in_row + 1 if failed else 0
            if isinstance(reply, Failure) and (gone or self._failed_in_row >= config.give_up_after):
                self._give_up(reply, gone)
            while self._taken.qsize() > AHEAD * config.concurrency and not self._stop.is_set():
                await asyncio.sleep(0.01)  # what was answered is to be written down first
            if self._stop.is_set():
                return

    def _give_up(self, last: Failure, gone: bool) -> None:
        if not self._stop.is_set():
            what = "cannot be reached" if gone else f"failed at {self._failed_in_row} questions in a row"
            self._farewell = (
                f"{self._chat.name} {what} ({last.reason}). What was answered is kept: see to the server, then run "
                "the same command again to ask the rest."
            )
        self._stop.set()


def encode_image(path: Path, max_side: int) -> str:
    """An image as the project sees it, as a data URL.

    Args:
        path: The file.
        max_side: Images whose longer side is above this are reduced; 0 reduces none.

    Raises:
        UserError: If the file is no image.
    """
    image = load_image(path)  # a corrupt file must not cost a request
    header = read_header(path)
    scale = max_side / max(image.shape[:2]) if max_side else 1.0
    kind = MEDIA.get(header.format) if header.is_plain and scale >= 1 else None
    if kind is not None:
        data = path.read_bytes()
    else:  # servers do not turn photos, and each has its own way with 16 bits and transparency
        kind = "png"
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    """Waits so long, or until the round is stopped."""
    if seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass
