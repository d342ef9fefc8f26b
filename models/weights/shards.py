"""The weight files of a checkpoint: all there, whole, and none of them a pickle."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value, read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def list_shards(place: Path, *, check: bool = True) -> list[Path]:
    """Weight files of a checkpoint, sorted by name: those of its index, else every safetensors file.

    Args:
        place: Folder in transformers' format, or one file.
        check: Refuse what is not whole; False lists what is there.

    Raises:
        UserError: If a shard of the index is missing, or there are pickles instead of safetensors.
    """
    if place.is_file():
        return [place]
    files = sorted(place.glob("*.safetensors"))
    if not check:
        return files
    if (place / INDEX).is_file():
        names = sorted(set(read_json(place / INDEX).get("weight_map", {}).values()))
        if missing := [name for name in names if not (place / name).is_file()]:
            raise UserError(
                f"{len(missing)} of {len(names)} shards are missing in {place}, {missing[0]} first. "
                "Download or copy the checkpoint again."
            )
        return [place / name for name in names]
    if not files:
        if pickles := list_pickles(place):
            raise UserError(
                f"{place} holds pickled weights ({pickles[0].name}), which may run code when loaded, and no "
                "safetensors. Take the safetensors version, or convert it with save_pretrained where it is trusted."
            )
        raise UserError(f"No weights in {place}: no *.safetensors. Check the path, or download the checkpoint again.")
    return files


def name_weights(place: Path) -> str:
    """A short name of a checkpoint's weights by their content; those of a single file have that file's hash."""
    hashes = list(hash_files(list_shards(place)).values())
    return (hashes[0] if len(hashes) == 1 else hash_value(hashes))[:16]


def list_pickles(folder: Path, start: str = "") -> list[Path]:
    """The files of a folder that are pickles by their suffix and whose names begin with `start`, sorted."""
    return sorted(path for path in folder.glob(f"{start}*") if path.suffix in PICKLES)


def count_parameters(files: Iterable[Path]) -> int:
    """Numbers in safetensors files, read from their headers.

    Raises:
        UserError: If a file is damaged.
    """
    total = 0
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is no whole safetensors file: {error}. Copy or download it again.") from error
    return total
