"""What a vision tower made of the latest images: a further question about them does not encode them again."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers.utils import ModelOutput

from data.content import hash_files

REMEMBERED_IMAGES = 8  # on the model's device; of LLaVA-NeXT each is up to 30 MB in two bytes a number
ENCODE = "get_image_features"  # of transformers' models, called by their `forward`


class ImageMemory:
    """Remembers what a model's `get_image_features` gave for the latest batches of images.

    A batch is known by the content of its images, in their order. How they are processed and encoded is the model's and
    its processor's, so a memory belongs to one model with one processor and goes with them. A model without
    `get_image_features`, as some have that bring their own code, encodes each time.

    Args:
        model: A model of transformers.
        most: Images to remember; of a batch with more nothing is kept.
    """

    def __init__(self, model: nn.Module, most: int = REMEMBERED_IMAGES) -> None:
        core: Any = getattr(model, "base_model", model)
        self._core = core if hasattr(core, ENCODE) else None
        self._most = most
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    @contextmanager
    def lent(self, images: Sequence[Path]) -> Iterator[None]:
        """Within the block the model may be run on one batch, and gets what it made of these images before.

        Args:
            images: All images of the batch, in the order in which the processor was given them.

        Raises:
            UserError: If an image is missing.
        """
        if self._core is None or not images or len(images) > self._most:
            yield
            return
        hashes = hash_files(images)
        key = tuple(hashes[path] for path in images)
        encode = getattr(self._core, ENCODE)

        @functools.wraps(encode)  # `generate` reads its signature
        def recall(*arguments: Any, **options: Any) -> Any:
            if key not in self._kept:
                self._kept[key] = _without_layers(encode(*arguments, **options))
                while sum(map(len, self._kept)) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

        setattr(self._core, ENCODE, recall)
        try:
            yield
        finally:
            delattr(self._core, ENCODE)

    def forget(self) -> None:
        """Drops everything."""
        self._kept.clear()


def _without_layers(output: Any) -> Any:
    """What the language model is given; the states of every layer of the tower, which some models add, are not kept."""
    if not isinstance(output, ModelOutput):
        return output
    kept = {name: value for name, value in output.items() if name not in ("hidden_states", "attentions")}
    return type(output)(**kept)
