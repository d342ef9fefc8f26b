"""Which EDDM a run holds, told from its files without loading it."""

from __future__ import annotations

from pathlib import Path

from data.content import hash_files
from data.files import read_json
from data.run import Run
from models.weights.shards import list_shards, name_weights
from models.weights.shipped import find_shipped, is_shipped


def identify_eddm(run: Run) -> dict[str, str]:
    """`model` and `adapter` as the rows of its descriptions name them, without loading it.

    Empty where the run holds no trained EDDM; without `model` where its base is a hub id without a pin.
    """
    path, adapter = run.eddm / "config.json", run.eddm / "adapter" / "adapter_model.safetensors"
    if not path.is_file() or not adapter.is_file():
        return {}
    trained = read_json(path)["trained"]
    found = {"adapter": hash_files([adapter])[adapter][:16]}
    if not trained["local"]:
        return found | ({"model": f"{trained['base']}@{trained['revision']}"} if trained["revision"] else {})
    base = locate_base(run, trained["base"])
    return found | ({"model": name_weights(base)} if base.is_dir() and list_shards(base, check=False) else {})


def locate_base(run: Run, base: str) -> Path:
    """The folder of a local base: one that ships with the code, or one named as seen from `RUN/eddm`.

    Args:
        run: The run.
        base: As its training recorded it.

    Raises:
        UserError: If the code ships another one than the run was trained on.
    """
    return find_shipped(base) if is_shipped(base) else run.eddm / base
