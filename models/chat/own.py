"""A chat back end of the user's own, `package.module:Class`: a class outside of the project.

    class Mine:
        def __init__(self, model, device, **options):   # mllm=; auto, cpu, cuda …; what `options.NAME=` says
            self.name = …                               # names the weights: of one name, the replies are the same
        def chat(self, requests): ...                   # a reply (text) to each ChatRequest
        def score(self, requests, counts): ...          # where it can: a list of logits of the options' letters each

A request is `models.chat.protocol.ChatRequest`: its `messages` hold images, earlier turns and the question.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from data.errors import UserError, brief
from data.files import hash_value
from data.plugins.classes import FORM, check_is_class, check_method
from data.plugins.load import Kind, load_plugin
from models.chat.protocol import ChatRequest

METHODS = {"chat": ("requests",), "score": ("requests", "counts")}


class OwnChat:
    """A back end of the user's own; see `models.chat.protocol.ChatModel`.

    Args:
        backend: `package.module:Class`.
        model: What `mllm=` names.
        options: Arguments of the class, beside these.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.

    Raises:
        UserError: If it cannot be imported (see `load_plugin`), lacks a part, or does not take the options.
    """

    def __init__(self, backend: str, model: str, options: Mapping[str, Any], device: str) -> None:
        plugin = load_plugin(backend, Kind("back end", FORM))
        self.backend = backend
        check_is_class(plugin, "backend")
        for method in ["chat", *(["score"] if hasattr(plugin.found, "score") else [])]:
            check_method(plugin, "backend", method, METHODS[method])
        try:
            inspect.signature(plugin.found).bind(model, device=device, **options)
        except TypeError as error:
            raise UserError(f"backend={backend} does not take model, device and {dict(options)}: {error}.") from error
        self.inner: Any = plugin.found(model, device=device, **options)
        if not isinstance(name := getattr(self.inner, "name", None), str) or not name:
            raise UserError(f"backend={backend} has no name. Set self.name to what names its weights.")
        self.name = f"{name} ({backend}@{hash_value([plugin.version, dict(options)])[:16]})"

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests.

        Raises:
            UserError: If the class returns something else.
        """
        replies = self.inner.chat(requests)
        if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):
            raise UserError(f"{self.backend} returned {brief(replies)}: chat() must give a list of texts.")
        if len(replies) != len(requests):
            raise UserError(f"{self.backend} gave {len(replies)} replies to {len(requests)} requests. Each needs one.")
        return replies


class OwnScorer:
    """The same, asked for the logits of options; see `models.chat.protocol.OptionScorer`.

    Args:
        chat: The back end.

    Raises:
        UserError: If it does not show them.
    """

    def __init__(self, chat: OwnChat) -> None:
        self.name, self.backend, self.inner = chat.name, chat.backend, chat.inner
        if not hasattr(self.inner, "score"):
            raise UserError(f"{self.backend} has no score(), which mode=likelihood needs. Set mode=generate.")

    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Logits of the letters of each question's options; see `OptionScorer.score`.

        Raises:
            UserError: If the class returns something else.
        """
        found = self.inner.score(requests, counts)
        try:
            logits = [[float(value) for value in one] for one in found]
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.backend} returned {brief(found)}: score() must give lists of numbers.") from error
        if [len(one) for one in logits] != list(counts):
            raise UserError(
                f"{self.backend} scored {brief([len(one) for one in logits])} options, not {brief(list(counts))}. "
                "score() must give one number an option."
            )
        return logits
