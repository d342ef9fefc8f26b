"""What autograd really keeps, counted on a CPU."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture
def saved_bytes() -> Callable[[nn.Module, Callable[[], object]], int]:
    """Bytes of all storages that the backward pass of `run()` needs, parameters aside."""

    def count(model: nn.Module, run: Callable[[], object]) -> int:
        own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
        kept: dict[int, int] = {}
        alive = []  # so that no address is given out twice

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
                alive.append(storage)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run()
        return sum(kept.values())

    return count
