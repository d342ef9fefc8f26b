"""Where a model runs and in which number format: the one policy of every command that runs one.

    device      auto: the GPU if there is one, else the CPU · cpu · cuda · cuda:1
    precision   auto: the checkpoint's own format where it names one, else float32 on a CPU and bf16 on a GPU ·
                float32 · bf16 · fp16

Under torchrun every rank has one replica on the GPU of its local rank, or, where the launcher shows each rank one GPU,
on that; never a model spread over all of them, and never two ranks on one. Nothing else chooses a device: loaders take
a `Placement`. Light: torch is imported when a device is asked for.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from data.errors import UserError
from data.files import hash_value

if TYPE_CHECKING:
    import torch
    from torch import nn

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound="nn.Module")


class Precision(StrEnum):
    """Number format of a forward pass."""

    auto = "auto"
    float32 = "float32"
    bf16 = "bf16"
    fp16 = "fp16"


SLOW = (  # measured: one product of 1024 × 1024 matrices took 2.3 s in bfloat16 and 0.04 s in float32
    "This CPU has no instructions for %s: a forward pass takes tens of times as long as in float32. Set %s, if the "
    "memory holds it."
)
NAMES = {Precision.float32: "float32", Precision.bf16: "bfloat16", Precision.fp16: "float16"}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and a number format, decided.

    Attributes:
        where: Where the weights are and the arithmetic happens, as torch names it: `cpu`, `cuda:0`.
        number: Number format of the forward pass, as torch names it: `float32`, `bfloat16`, `float16`.
    """

    where: str
    number: str

    @property
    def device(self) -> torch.device:
        """`where` for torch."""
        import torch

        return torch.device(self.where)

    @property
    def dtype(self) -> torch.dtype:
        """`number` for torch."""
        import torch

        return getattr(torch, self.number)

    def place(self, model: Model) -> Model:
        """Moves a model as a whole; weights keep their formats, 4-bit ones too."""
        return model.to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        """Runs the block's products in the number format; float32 leaves everything as the weights have it."""
        import torch

        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.number != "float32")


CPU = Placement("cpu", "float32")


@dataclass(kw_only=True, slots=True)
class DeviceConfig:
    """Where a command runs its models; the configurations of such commands inherit it.

    Attributes:
        device: `auto` (the GPU if there is one), `cpu`, `cuda` or `cuda:<number>`.
        precision: Number format of the forward pass; `auto` is the checkpoint's own where it names one, else float32 on
            a CPU and bf16 on a GPU.
    """

    device: str = "auto"
    precision: Precision = Precision.auto

    def place(self, own: str | None = None) -> Placement:
        """Decides; see `choose`."""
        return choose(self.device, self.precision, own=own)


def choose(
    device: str = "auto",
    precision: Precision | str = Precision.auto,
    *,
    own: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Placement:
    """Decides where this process runs its model.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:<number>`.
        precision: One of `Precision`.
        own: The checkpoint's own number format, as torch names it, which `auto` keeps.
        environment: The launcher's variables; None reads `os.environ`.

    Raises:
        UserError: If the device is not one of these or not there, two ranks would share one GPU, or the GPU lacks the
            number format.
    """
    where = choose_device(device, os.environ if environment is None else environment)
    wanted = Precision(precision)
    if wanted is not Precision.auto:
        number = NAMES[wanted]
    elif own is not None:
        number = own
    elif where == "cpu":
        number = "float32"
    else:
        import torch

        number = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    say_if_slow(where, number, "precision=float32")
    return Placement(where, number)


_told: set[str] = set()  # number formats of which this process has said that they are slow here


def say_if_slow(where: str, number: str, remedy: str) -> None:
    """Says so, once, where a number format is to run on a CPU that can only imitate it.

    Args:
        where: The device, as torch names it.
        number: The number format, as torch or accelerate names it.
        remedy: The keys to set for float32.
    """
    if where == "cpu" and number not in _told and not cpu_computes_in(number):
        _told.add(number)
        log.warning(SLOW, number, remedy)


def cpu_computes_in(number: str) -> bool:
    """Whether this CPU has instructions for products in a number format, as torch or accelerate names it."""
    import torch

    if number in ("bfloat16", "bf16"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if number in ("float16", "fp16"):
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def choose_device(device: str, environment: Mapping[str, str]) -> str:
    """The device of this process, as torch names it.

    Raises:
        UserError: As `choose`.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UserError(f"device={device} is none of auto, cpu, cuda, cuda:<number>.")
    if kind == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto" and not count:
        return "cpu"
    ranks = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    shows_one_each = count == 1 and ranks > 1 and _is_own_gpu(environment)
    if count and ranks > count and not shows_one_each:
        raise UserError(
            f"{ranks} ranks were started on this machine, which shows {count} GPU{'s' * (count > 1)}: two would share "
            f"one. Start at most {count} (torchrun --nproc_per_node {count}), or set device=cpu."
        )
    if number and ranks > 1 and not shows_one_each:
        raise UserError(f"device={device} would put all {ranks} ranks on one GPU. Set device=cuda: each takes its own.")
    index = int(number or ("0" if shows_one_each else environment.get("LOCAL_RANK", "0")))
    if index >= count:
        there = f"only {count} of them" if count else "none"
        raise UserError(f"device={device} asks for GPU {index}, but torch sees {there} here. Set device=auto or cpu.")
    return f"cuda:{index}"


_held: dict[tuple[str, str], IO[str]] = {}  # locks by file and rank, open as long as this process lives


def _is_own_gpu(environment: Mapping[str, str]) -> bool:
    """Whether the one GPU that this rank sees is seen by no other rank of its launch: the first to ask locks it."""
    import fcntl

    import torch

    launch = [environment.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")]
    gpu = str(torch.cuda.get_device_properties(0).uuid)
    path = Path(tempfile.gettempdir()) / f"eiad-gpu-{hash_value([os.getuid(), launch, gpu])[:16]}.lock"
    key = str(path), environment.get("RANK", "0")
    if key in _held:
        return True
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _held[key] = lock
    return True
