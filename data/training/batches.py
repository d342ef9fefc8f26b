"""Which item comes at which training step: a pure function of the seed, so that any step can be the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError


@dataclass(frozen=True, slots=True)
class Draw:
    """One item: which part of the mix, in which epoch of that part, at which index."""

    part: int
    epoch: int
    index: int


class ItemDataset(Protocol):
    """Items by index; an item may vary with the epoch, and is a pure function of (epoch, index)."""

    def __len__(self) -> int:
        """Number of items in an epoch."""

    def get(self, epoch: int, index: int) -> Any:
        """One item; it has an `id`."""


class SampleDataset(ItemDataset, Protocol):
    """Items that are samples of a dataset."""

    def id_of(self, epoch: int, index: int) -> str:
        """Id of the sample of an item, without decoding it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A dataset and how many of its items each batch holds."""

    dataset: ItemDataset
    per_batch: int


class MixedDataset:
    """Several parts behind one index; this is what the data loader reads."""

    def __init__(self, parts: Sequence[Part]) -> None:
        for position, part in enumerate(parts):
            if part.per_batch and not len(part.dataset):
                raise UserError(
                    f"Part {position} of the training data is empty, but each batch needs {part.per_batch}."
                )
        self.parts = [part for part in parts if part.per_batch]

    def __len__(self) -> int:
        """Number of distinct items."""
        return sum(len(part.dataset) for part in self.parts)

    def __getitem__(self, draw: Draw) -> Any:
        """The drawn item."""
        return self.parts[draw.part].dataset.get(draw.epoch, draw.index)


class StepBatches:
    """Batches of draws for steps `start` to `stop`; each part is walked epoch by epoch in its own shuffled order.

    Where a batch is cut into one piece for each of several ranks, every part of the mix is dealt out evenly.

    Attributes:
        batch_size: Items per batch (accelerate reads it to split a batch among processes).
        drop_last: Always False: every batch is full.
    """

    drop_last = False

    def __init__(self, parts: Sequence[Part], *, seed: int, start: int, stop: int, ranks: int = 1) -> None:
        self.batch_size = sum(part.per_batch for part in parts)
        self._ranks = ranks
        self._parts, self._seed, self._start, self._stop = list(parts), seed, start, stop

    def __len__(self) -> int:
        """Number of batches."""
        return max(0, self._stop - self._start)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yields the batches in step order."""
        for step in range(self._start, self._stop):
            draws = [draw for number, part in enumerate(self._parts) for draw in self._draws(number, part, step)]
            yield [draw for rank in range(self._ranks) for draw in draws[rank :: self._ranks]]

    def _draws(self, number: int, part: Part, step: int) -> Iterator[Draw]:
        size = len(part.dataset)
        for position in range(step * part.per_batch, (step + 1) * part.per_batch):
            epoch, offset = divmod(position, size)
            yield Draw(number, epoch, int(shuffled(size, self._seed, number, epoch)[offset]))


@lru_cache(maxsize=64)
def shuffled(size: int, seed: int, part: int, epoch: int) -> NDArray[np.int64]:
    """The order of one epoch of one part, (size,)."""
    return np.random.default_rng([seed, part, epoch]).permutation(size)
