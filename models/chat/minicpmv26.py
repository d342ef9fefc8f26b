"""MiniCPM-V 2.6's own code under newer libraries than it was written for: four faults, cured while it loads.

The code comes with the weights and is not changed on the disk. Under transformers 5 and torch 2.14

1. its resampler needs `List`, which older torch let through `from torch.nn.functional import *`: a NameError;
2. its `__init__` never calls `post_init`, which now sets what loading reads: an AttributeError;
3. loading replaces `resampler.pos_embed`, a buffer that only `__init__` fills, by uninitialised memory, silently: every
   visual token is wrong;
4. its class has `prepare_inputs_for_generation` only at the first load of a process: an AttributeError at the second.

Each cure looks for its fault first, so with libraries that lack a fault nothing is changed.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import logging
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError

log = logging.getLogger(__name__)
ARCHITECTURE = "MiniCPMV"
FILL, BUFFER = "_set_2d_pos_cache", "pos_embed"


@contextlib.contextmanager
def mended(folder: str | Path, *, trusted: bool) -> Iterator[None]:
    """Within the block MiniCPM-V 2.6 loads from `folder`, by ms-swift or transformers; other models are left alone.

    Args:
        folder: Checkpoint folder; a hub id is left alone, too.
        trusted: Whether the user allows the code in `folder` to run; without it nothing is touched.
    """
    if not (trusted and _brings_code(Path(folder))):
        yield
        return
    from torch.nn import functional
    from transformers import PreTrainedModel

    cures: list[str] = []
    load: Any = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]

    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls.__name__ != ARCHITECTURE:
            return load(cls, *args, **kwargs)
        with _calling_post_init(cls, cures):
            loaded = load(cls, *args, **kwargs)
        if not hasattr(cls, "prepare_inputs_for_generation"):
            cls.prepare_inputs_for_generation = _prepare_inputs
            cures.append("prepare_inputs_for_generation taken from its language model")
        cures.extend(f"{name} filled again" for name in fill_positions(loaded[0] if type(loaded) is tuple else loaded))
        if cures:
            log.info("%s is older than the libraries here; cured while loading: %s", folder, ", ".join(cures))
        return loaded

    if lend := not hasattr(functional, "List"):
        functional.List = typing.List  # type: ignore[attr-defined]  # noqa: UP006
        cures.append("List lent to torch.nn.functional")
    PreTrainedModel.from_pretrained = classmethod(from_pretrained)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = classmethod(load)  # type: ignore[method-assign,assignment]
        if lend:
            del functional.List  # type: ignore[attr-defined]


def fill_positions(model: nn.Module) -> list[str]:
    """Fills the position embeddings of resamplers again that loading has overwritten.

    Args:
        model: A model with all its weights; without such a resampler nothing happens.

    Returns:
        Names of the buffers that were filled again.

    Raises:
        UserError: If one still differs from its definition.
    """
    filled = []
    for name, resampler in _resamplers(model):
        held = getattr(resampler, BUFFER)
        if _largest_difference(resampler) > 0:
            getattr(resampler, FILL)(_grid(resampler), held.device)
            resampler._buffers[BUFFER] = getattr(resampler, BUFFER).to(held.dtype)
            filled.append(name)
    check_positions(model)
    return filled


def check_positions(model: nn.Module) -> None:
    """Refuses a model whose resampler adds other positions than its code defines.

    Raises:
        UserError: If a buffer differs from what the model's own code computes for it, rounding to its dtype apart.
    """
    for name, resampler in _resamplers(model):
        if (difference := _largest_difference(resampler)) > 0:
            raise UserError(
                f"{name} differs by {difference:.3g} from its definition in the model's code: loading has overwritten "
                "it, and every visual token would be wrong. Use the versions of constraints.txt."
            )


def _brings_code(folder: Path) -> bool:
    """Whether the folder holds this architecture with code of its own."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return ARCHITECTURE in config.get("architectures", []) and "auto_map" in config


@contextlib.contextmanager
def _calling_post_init(kind: Any, cures: list[str]) -> Iterator[None]:
    """Within the block `kind()` sets what transformers 5 sets in `post_init`."""
    from transformers import PreTrainedModel

    construct = kind.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        construct(self, *args, **kwargs)
        if hasattr(PreTrainedModel, "get_expanded_tied_weights_keys") and not hasattr(self, "all_tied_weights_keys"):
            self.post_init()
            cures.append("post_init called")

    kind.__init__ = __init__
    try:
        yield
    finally:
        kind.__init__ = construct


def _prepare_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
    return self.llm.prepare_inputs_for_generation(*args, **kwargs)


def _resamplers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if callable(getattr(module, FILL, None)) and isinstance(module._buffers.get(BUFFER), Tensor):
            yield f"{name}.{BUFFER}", module


def _grid(resampler: nn.Module) -> Any:
    """Height and width of the largest grid of patches that the positions cover."""
    return getattr(resampler, "max_size", tuple(getattr(resampler, BUFFER).shape[:2]))


def _largest_difference(resampler: nn.Module) -> float:
    """From the definition, which is computed anew on a copy without buffers; infinite where a value is no number."""
    twin = copy.copy(resampler)
    twin.__dict__["_buffers"], twin.__dict__["_non_persistent_buffers_set"] = {}, set()
    with torch.device("cpu"):
        getattr(twin, FILL)(_grid(resampler))
    held = getattr(resampler, BUFFER)
    expected = getattr(twin, BUFFER).to(held.device, held.dtype)
    if held.shape != expected.shape:
        return float("inf")
    difference = (held.float() - expected.float()).abs().max()
    return float(difference) if bool(torch.isfinite(difference)) else float("inf")
