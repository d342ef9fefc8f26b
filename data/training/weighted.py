"""Several datasets as one, drawn by weight: a pure function of the epoch and the index, so that training can resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.training.batches import SampleDataset, shuffled


class WeightedDataset:
    """Datasets whose share of the draws is their weight, whatever their sizes.

    An epoch has as many slots as the datasets have items; each dataset gets its share of them, to the nearest slot.
    Its slots walk through its items in its own shuffled order, again and again and on across epochs, so after any
    number of epochs its items have been drawn equally often, give or take one.
    """

    def __init__(self, datasets: Sequence[SampleDataset], weights: Sequence[float], *, seed: int) -> None:
        """Takes the datasets.

        Args:
            datasets: None of them empty.
            weights: One per dataset, positive.
            seed: Seed of the order within each dataset.
        """
        self._datasets, self._seed = list(datasets), seed
        self._size = sum(len(dataset) for dataset in datasets)
        self._ends = np.cumsum(_slots(self._size, weights))

    def __len__(self) -> int:
        """Number of slots in an epoch."""
        return self._size

    def locate(self, epoch: int, index: int) -> tuple[int, int, int]:
        """What a slot holds: (number of the dataset, its own epoch, the index of its item)."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[number - 1]) if number else 0
        slots, size = int(self._ends[number]) - start, len(self._datasets[number])
        own_epoch, offset = divmod(epoch * slots + index - start, size)
        return number, own_epoch, int(shuffled(size, self._seed, 1000 + number, own_epoch)[offset])

    def id_of(self, epoch: int, index: int) -> str:
        """Id of the item in a slot."""
        number, own_epoch, own_index = self.locate(epoch, index)
        return self._datasets[number].id_of(own_epoch, own_index)

    def get(self, epoch: int, index: int) -> Any:
        """The item in a slot."""
        number, own_epoch, own_index = self.locate(epoch, index)
        return self._datasets[number].get(own_epoch, own_index)


def _slots(size: int, weights: Sequence[float]) -> NDArray[np.int64]:
    """Shares `size` slots out by weight, largest remainders first, (len(weights),); each gets at least one."""
    exact = np.asarray(weights, float) / sum(weights) * size
    slots = np.maximum(np.floor(exact).astype(np.int64), 1)
    for number in np.argsort(slots - exact, kind="stable")[: max(0, size - int(slots.sum()))]:
        slots[number] += 1
    slots[np.argmax(slots)] -= slots.sum() - size  # where the least share of one was rounded up
    return slots


def check_weights(weights: Mapping[str, float], datasets: set[str]) -> None:
    """Checks that every dataset, and nothing else, has a positive weight.

    Raises:
        UserError: Naming the dataset.
    """
    if missing := sorted(datasets - set(weights)):
        raise UserError(f"No sampling weight for {missing}. Add it under data.weights, or give none at all.")
    if unknown := sorted(set(weights) - datasets):
        raise UserError(f"Sampling weights for {unknown}, which the training data does not hold. Remove them.")
    if bad := [name for name, weight in weights.items() if not weight > 0]:
        raise UserError(f"The sampling weight of '{bad[0]}' is {weights[bad[0]]}. Give a positive one.")
