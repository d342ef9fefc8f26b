"""Measures a step of real code without its memory: on fake tensors, which have shape, format and device but no numbers.

with fake_weights(model), Meter() as meter:   # operations, bytes alive and their peak
    with Saved(model) as saved:               # bytes that autograd keeps
        loss = forward(batch)
    loss.backward()
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

SMALL = 1 << 22  # numbers of a tensor of integers that are worth knowing: positions and lengths, not images


class Meter(TorchDispatchMode):
    """Counts the operations inside the block, and the bytes of all storages that they create.

    Under fake tensors, integers that depend on integers alone (word ids, sizes, positions) keep their values, so that
    code which looks at them runs as it is.

    Attributes:
        flops: Floating-point operations by torch's own formulas, those of `FlopCounterMode`.
        now: Bytes alive.
        peak: The most that were alive after an operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.now = self.peak = 0
        self._seen: set[int] = set()

    def add(self, tensors: Any) -> None:
        """Counts storages that existed before the block, such as parameters."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and counts what it did and made."""
        kwargs = kwargs or {}
        results = _run(func, args, kwargs)
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=results)
        self.add(results)
        return results

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """Runs an operation; small integers that depend on no fake tensor stay real."""
    inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if torch.device(kwargs.get("device") or "cpu").type != "cpu":
        return func(*args, **kwargs)
    if any(isinstance(tensor, FakeTensor) or tensor.is_meta for tensor in inputs):
        if func is torch.ops.aten.index.Tensor:  # how much a mask selects is only known of a real one
            args = (args[0], [place for index in args[1] for place in _places(index)])
        return func(*args, **kwargs)
    if not inputs:
        made = func(*args, **kwargs)
        if not isinstance(made, FakeTensor) or made.is_floating_point() or made.numel() > SMALL:
            return made
    with unset_fake_temporarily():
        return func(*args, **kwargs)


def _places(index: Tensor | None) -> list[Tensor | None]:
    if index is None or isinstance(index, FakeTensor) or index.dtype is not torch.bool:
        return [index]
    with unset_fake_temporarily():
        return list(index.nonzero(as_tuple=True))


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)


# torch leaves the CPU's fused attention out, which a training on fake CPU tensors goes through
FORMULAS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def _gpu_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout that keeps its mask as a GPU does, a byte a number: a CPU keeps it as floats."""
    return torch.native_dropout(input, p, training)[0]


@contextmanager
def fake_weights(model: nn.Module, device: str = "cpu") -> Iterator[FakeTensorMode]:
    """Inside the block every new tensor is fake, and so are the model's weights, whatever device they were on.

    Fake CPU tensors can be trained. Those on `cuda` need no GPU, but only run forward.

    Args:
        model: Best built on the `meta` device. Its weights stay fake after the block.
        device: Where the fake weights are said to be.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, patch.object(nn.functional, "dropout", _gpu_dropout):
        for module in model.modules():  # `to()` does not work on fake parameters
            tensors: Any
            for tensors in (module._parameters, module._buffers):
                for name, old in tensors.items():
                    if old is not None:
                        new = torch.empty(old.shape, dtype=old.dtype, device=device)
                        is_parameter = isinstance(old, nn.Parameter)
                        tensors[name] = nn.Parameter(new, requires_grad=old.requires_grad) if is_parameter else new
        yield mode


class Saved:
    """Counts what a forward pass inside the block keeps for the backward pass.

    Args:
        model: Its own parameters and buffers do not count: they are there anyway.

    Attributes:
        total: Bytes of the distinct storages that were kept when the block ended.
    """

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        self._own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
        self._sizes: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def __enter__(self) -> Saved:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__()
        self.total = sum(self._sizes.values())

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._own and key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            weakref.finalize(storage, self._sizes.pop, key, None)  # its address may be given out again
        return tensor.detach()  # the tensor itself would keep its own graph alive
