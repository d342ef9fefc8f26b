"""Named tensors of one file: safetensors, or the pickle that a configuration names, such as Meta's `sam_vit_h.pth`.

Of a training's checkpoint the `state_dict` is taken, without the `module.` of several GPUs before its names.
A pickle is a program that runs while it is read. torch's restricted unpickler builds tensors and nothing else; a
TorchScript archive, which is a program by purpose, is refused. Everything else must be safetensors: see `shards`.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path, PurePosixPath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data.errors import UserError

PARALLEL = "module."  # what torch's DistributedDataParallel puts before each name


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """Reads a file on the CPU.

    Args:
        path: `.safetensors`, or a pickle that `torch.save` made of a state dict or of a training's checkpoint.
        mapped: Leave the values of a pickle on disk until they are used.

    Raises:
        UserError: If the file is damaged, is a TorchScript archive, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_script(path):
            raise UserError(
                f"{path} is a TorchScript archive: a program, not weights. Take the checkpoint's safetensors, or, "
                "where you trust it, save the state_dict() of the loaded module."
            )
        state = torch.load(path, "cpu", weights_only=True, mmap=mapped)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, IndexError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is damaged, not what its name says, or holds more than tensors, which is not read ({reason}). "
            "Download it again."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no plain dictionary of tensors. Save the model's state_dict() alone.")
    parallel = bool(state) and all(name.startswith(PARALLEL) for name in state)
    return {name.removeprefix(PARALLEL): value for name, value in state.items()} if parallel else state


def is_script(path: Path) -> bool:
    """Whether a file is a TorchScript archive, by the code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        parts = [PurePosixPath(name).parts[1:] for name in archive.namelist()]
    return any(inner[:1] == ("code",) or inner == ("constants.pkl",) for inner in parts)
