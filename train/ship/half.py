"""Weights in half the bytes, where that loses nothing but the last digits."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from data.processes.aside import written_aside
from models.weights.tensors import read_tensors

LARGEST_LOSS = 1e-3  # relative; rounding to float16 alone loses at most half of it


def write_half(source: Path, target: Path) -> None:
    """Writes a safetensors file with its float32 tensors in float16, apart from those that would lose more by it.

    Every loader here asks for float32 by name, so a model computes in float32 with the rounded weights.

    Args:
        source: The file.
        target: The new one.

    Raises:
        UserError: If the source is damaged, or the target cannot be written.
    """
    halves = {name: to_half(value) for name, value in read_tensors(source).items()}
    with written_aside(target) as temporary:
        save_file(halves, temporary, {"format": "pt"})


def to_half(value: Tensor) -> Tensor:
    """A float32 tensor in float16 if that changes it by no more than float16's own precision; else as it is.

    Too large numbers would be infinite, and a tensor of very small ones would lose its digits: those stay.
    """
    if value.dtype is not torch.float32:
        return value
    half = value.half()
    lost = (half.float() - value).norm()
    return half.contiguous() if bool(lost <= LARGEST_LOSS * value.norm()) else value
