"""A model that sees red: a photo's map is its red channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sample import ImageArray
from eval.assistant.assistant import Assistant
from eval.inspection.sources import Picture
from models.chat.protocol import ChatRequest
from models.eddm.eddm import EDDM
from models.eiad import Look

WritePhoto = Callable[..., Path]
MakeAssistant = Callable[..., Assistant]


class Parrot:
    """A chat model that repeats what it is asked, and how many turns went before."""

    name = "parrot"

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        return [f"{request.prompt} <b>[{len(request.history)}]</b>" for request in requests]


class Hesitant(Parrot):
    """A parrot that begins an answer and waits until it may end it."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.begun.set()
        assert self.may_end.wait(60)
        return super().chat(requests)


class Redness:
    """A photo's map is its red channel in 0..1, its score the map's top; notices two who use it at once."""

    name, key, category = "redness", "red-1", ""
    threshold = pixel = 0.5
    bounded = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batches: list[int] = []
        self.together = 0
        self.eddm = EDDM(Parrot(), ("dent", "deep hole"))
        self._busy = threading.Lock()

    def ready(self, image: ImageArray) -> None:
        """Nothing."""

    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        alone = self._busy.acquire(blocking=False)
        self.together += not alone
        self.batches.append(len(pictures))
        maps = [picture.image[..., 0].astype(np.float32) / 255 for picture in pictures]
        if alone:
            self._busy.release()
        return [Look(anomaly_map=one, score=float(one.max())) for one in maps]


def make_hesitant(make_assistant: MakeAssistant, **settings: Any) -> tuple[Assistant, Hesitant]:
    """An assistant on any free port whose answers wait, and the one that they wait for."""
    assistant, parrot = make_assistant(port=0, **settings), Hesitant()
    assistant.eddm = EDDM(parrot, ("dent", "deep hole"))
    return assistant, parrot
