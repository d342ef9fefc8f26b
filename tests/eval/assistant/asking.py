"""Questions to a page over HTTP whose answers nobody waits for."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

RUNNING = 8  # answers at a time; further ones wait in the queue


def begin(address: str, photo: Path, question: str) -> httpx.Response:
    """Asks a question about a photo; what comes back is the queue's reply."""
    (path,) = httpx.post(f"{address}gradio_api/upload", files={"files": (photo.name, photo.read_bytes())}).json()
    asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, question, None]}
    return httpx.post(f"{address}gradio_api/call/ask", json=asked)


def fill(address: str, photo: Path, waiting: int) -> list[str]:
    """Asks until all answers are being worked on and so many questions wait, numbered from 0; returns their events."""
    events: list[str] = []
    give_up = time.monotonic() + 60
    while len(events) < RUNNING + waiting:
        reply = begin(address, photo, f"{len(events)}?")
        if reply.is_success:
            events.append(reply.json()["event_id"])
        assert time.monotonic() < give_up, reply.text  # a queue of one is full until its question is taken out
    return events


def answer(address: str, event: str) -> str:
    """Waits for an answer; it comes as Gradio streams it."""
    return httpx.get(f"{address}gradio_api/call/ask/{event}", timeout=60).text
