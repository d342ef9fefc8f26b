"""The weight files of a checkpoint: all there, whole, and none of them a pickle."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from data.content import hash_files
from data.errors import UserError
from data.files import hash_value, read_json
from data.readers.annotations import find_inside

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")


def list_shards(place: Path, *, check: bool = True) -> list[Path]:
    """Weight files of a checkpoint, sorted by name: those of its index, else every safetensors file.

    Args:
        place: Folder in transformers' format, or one file.
        check: Refuse what is not whole; False lists what is there.

    Raises:
        UserError: If a shard of the index is missing or lies elsewhere, or there are pickles instead of safetensors.
    """
    if place.is_file():
        return [place]
    files = sorted(place.glob("*.safetensors"))
    if not check:
        return files
    check_format(place)
    if (place / INDEX).is_file():
        names = _read_index(place / INDEX)
        if missing := [name for name in names if not (place / name).is_file()]:
            raise UserError(
                f"{len(missing)} of {len(names)} shards are missing in {place}, {missing[0]} first. "
                "Download or copy the checkpoint again."
            )
        return [place / name for name in names]
    if not files:
        raise UserError(f"No weights in {place}: no *.safetensors. Check the path, or download the checkpoint again.")
    return files


def check_format(folder: Path) -> None:
    """Refuses a checkpoint folder of which a library would read a pickle.

    Raises:
        UserError: If it holds pickles and no safetensors, its index names something else than safetensors, or a
            safetensors file is a pickle under that name.
    """
    files = sorted(folder.glob("*.safetensors"))
    pickles = list_pickles(folder)
    if pickles and not files and not (folder / INDEX).is_file():
        raise UserError(
            f"{folder} holds pickled weights ({pickles[0].name}), which may run code when loaded, and no "
            "safetensors. Take the safetensors version, or convert it with save_pretrained where it is trusted."
        )
    if (folder / INDEX).is_file():
        _read_index(folder / INDEX)
    for path in files:
        if is_pickle(path):
            raise UserError(f"{path} is a pickle, whatever its name says. Take the safetensors version.")


def find_adapter(folder: Path) -> Path:
    """The weights of a PEFT folder, which takes a pickle where there are none.

    Raises:
        UserError: If it holds a pickle, or no safetensors.
    """
    refuse_pickles(folder)
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise UserError(
            f"No adapter at {folder}: {ADAPTER_WEIGHTS} is missing. Copy the folder again, or finish its training."
        )
    return path


def refuse_pickles(folder: Path) -> None:
    """Refuses pickles anywhere in a folder that this project wrote: a run's adapter, an export.

    Raises:
        UserError: Naming the first.
    """
    for path in sorted(folder.rglob("*")):
        if is_pickle(path):
            raise UserError(
                f"{path} is a pickle, which may run code when loaded; nothing here writes one. Get the folder again "
                "from where you trust it, or train again."
            )


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle: by its suffix, or, under the name of safetensors, by how it begins."""
    if path.suffix.lower() in PICKLES:
        return path.is_file()
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] != b"{" and (start.startswith(b"PK") or start[:1] == b"\x80")


def name_weights(place: Path) -> str:
    """A short name of a checkpoint's weights by their content; those of a single file have that file's hash."""
    hashes = list(hash_files(list_shards(place)).values())
    return (hashes[0] if len(hashes) == 1 else hash_value(hashes))[:16]


def list_pickles(folder: Path, start: str = "") -> list[Path]:
    """The files of a folder that are pickles by their suffix and whose names begin with `start`, sorted."""
    return sorted(path for path in folder.glob(f"{start}*") if path.suffix.lower() in PICKLES)


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


def _read_index(path: Path) -> list[str]:
    """Names of the shards of an index, sorted."""
    index = read_json(path)
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise UserError(f"{path} is no index of shards. Download the checkpoint again.")
    names = sorted(set(table.values()))
    for name in names:
        if find_inside(path.parent, name, path, sealed=True).suffix != ".safetensors":
            raise UserError(
                f"{path} names {name}, which is no safetensors and may run code when loaded. Take the "
                "safetensors version."
            )
    return names
