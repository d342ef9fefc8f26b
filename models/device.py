"""Where a model runs and in which number format: the one policy of every command that runs one.

    device      auto: the GPU if there is one, else the CPU · cpu · cuda · cuda:1
    precision   auto: the checkpoint's own format where it names one, else float32 on a CPU and bf16 on a GPU ·
                float32 · bf16 · fp16

Under torchrun every rank has one replica on the GPU of its local rank, never a model spread over all of them. Nothing
else chooses a device: loaders take a `Placement`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import torch
from torch import nn

from data.errors import UserError

Model = TypeVar("Model", bound=nn.Module)


class Precision(StrEnum):
    """Number format of a forward pass."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"
    fp16 = "fp16"


DTYPES = {Precision.float32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and a number format, decided.

    Attributes:
        device: Where the weights are and the arithmetic happens.
        dtype: Number format of the forward pass.
    """

    device: torch.device
    dtype: torch.dtype

    def place(self, model: Model) -> Model:
        """Moves a model as a whole; weights keep their formats, 4-bit ones too."""
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Runs the block's products in the number format; float32 leaves everything as the weights have it."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not torch.float32)


CPU = Placement(torch.device("cpu"), torch.float32)


def choose(
    device: str = "auto",
    precision: Precision | str = Precision.auto,
    *,
    own: torch.dtype | None = None,
    environment: Mapping[str, str] | None = None,
) -> Placement:
    """Decides where this process runs its model.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:<number>`.
        precision: One of `Precision`.
        own: The checkpoint's own number format, which `auto` keeps.
        environment: The launcher's variables; None reads `os.environ`.

    Raises:
        UserError: If the device is not one of these or not there, two ranks would share one GPU, or the GPU lacks the
            number format.
    """
    where = choose_device(device, os.environ if environment is None else environment)
    wanted = Precision(precision)
    if wanted is not Precision.auto:
        number = DTYPES[wanted]
    elif own is not None:
        number = own
    elif where.type == "cpu":
        number = torch.float32
    else:
        number = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return Placement(where, number)


def choose_device(device: str, environment: Mapping[str, str]) -> torch.device:
    """The device of this process.

    Raises:
        UserError: As `choose`.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"device={device} is none of auto, cpu, cuda, cuda:<number>.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not count):
        return torch.device("cpu")
    ranks = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if count and ranks > count:
        raise UserError(
            f"{ranks} ranks were started on this machine, which shows {count} GPU{'s' * (count > 1)}: two would share "
            f"one. Start at most {count} (torchrun --nproc_per_node {count}), or set device=cpu."
        )
    if number and ranks > 1:
        raise UserError(f"device={device} would put all {ranks} ranks on one GPU. Set device=cuda: each takes its own.")
    index = int(number or environment.get("LOCAL_RANK", "0"))
    if index >= count:
        there = f"only {count} of them" if count else "none"
        raise UserError(f"device={device} asks for GPU {index}, but torch sees {there} here. Set device=auto or cpu.")
    return torch.device("cuda", index)
