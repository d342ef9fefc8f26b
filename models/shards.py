"""The weight files of a checkpoint directory in transformers' format: all there, and none of them a pickle."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.files import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def list_shards(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: one, or those that the index lists.

    Raises:
        UserError: If a shard is missing, or there are only pickles.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pth", ".pt"))
        if pickles:
            raise UserError(
                f"{folder} holds {pickles[0]}, a pickle, and no {WEIGHTS}. Pickles can run code when they are read: "
                "download the safetensors version, or convert it with save_pretrained on a machine that trusts it."
            )
        raise UserError(f"No {WEIGHTS} in {folder}. Check the path, or download the checkpoint again.")
    names = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(
            f"{len(missing)} of {len(names)} shards are missing in {folder}, {missing[0]} first. Download them again."
        )
    return [folder / name for name in names]
