"""What the folder of a fitted expert holds besides its own files: `expert.json` and `gate.json`.

<category>/<name>.safetensors  what was fitted on a category
images.json                    hashes of the images that it was fitted on, whatever they are called
expert.json                    {"expert", "config", "fitted": {category: [sample id, …]}}
gate.json                      {category: {"score", "pixel"}}; it gets its place last: the folder is complete
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from data.content import hash_files
from data.errors import UserError, writing
from data.files import hash_value, make_dir, read_json, write_json
from data.processes.aside import written_aside
from models.experts.backbone import Backbone
from models.experts.expert import Gate
from models.experts.frame import FRAME, ROI
from models.weights.tensors import read_tensors as read_file

Config = TypeVar("Config")
EXPERT, GATE, IMAGES = "expert.json", "gate.json", "images.json"


@contextmanager
def replacing_expert(folder: Path) -> Iterator[Path]:
    """A folder for the files of a fitted expert, which go to their places in `folder` when the block succeeds.

    An earlier fit is whole until then. While its files are replaced the gate is missing, and no expert loads without:
    killed there, the next command asks to fit again. Files of the same folder that are no part of an expert stay.

    Args:
        folder: Of the expert; the caller alone writes to it.
    """
    work = folder.with_name(f".{folder.name}.fitting")
    shutil.rmtree(work, ignore_errors=True)  # of a fit that was killed
    try:
        yield make_dir(work)
        make_dir(folder)
        with writing(folder):
            (folder / GATE).unlink(missing_ok=True)
            for name in (FRAME, ROI):  # of an earlier fit; this one may look at the whole photo
                (folder / name).unlink(missing_ok=True)
            files = [path for path in sorted(work.rglob("*")) if path.is_file()]
            for path in sorted(files, key=lambda path: path.name == GATE):
                target = folder / path.relative_to(work)
                make_dir(target.parent)
                path.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_gates(folder: Path, gates: Mapping[str, Gate]) -> None:
    """Writes the thresholds of every category."""
    write_json(folder / GATE, {category: asdict(gate) for category, gate in gates.items()})


def read_gates(folder: Path) -> dict[str, Gate]:
    """Reads the thresholds of every category.

    Raises:
        UserError: If there are none, or the file is malformed.
    """
    path = folder / GATE
    if not path.is_file():
        raise UserError(f"No gate at {path}. Fit the expert first: python -m scripts.fit_expert.")
    try:
        return {
            category: Gate(float(values["score"]), float(values["pixel"]))
            for category, values in read_json(path).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Not a gate file: {path} ({error!r}). Fit the expert again.") from error


def write_expert(folder: Path, name: str, config: Mapping[str, Any], fitted: Mapping[str, list[str]]) -> None:
    """Writes which expert was fitted, with what, on which images."""
    write_json(folder / EXPERT, {"expert": name, "config": dict(config), "fitted": dict(fitted)})


def write_fitted(folder: Path, images: Iterable[Path]) -> None:
    """Writes which images an expert was fitted on, or its gate set on, by their content."""
    write_json(folder / IMAGES, sorted(set(hash_files(images).values())))


def read_fitted(folder: Path) -> set[str]:
    """Hashes of the images that an expert was fitted on; empty where it is not known."""
    path = folder / IMAGES
    return set(read_json(path)) if path.is_file() else set()


def read_expert(folder: Path, name: str | None = None) -> dict[str, Any]:
    """Reads `expert.json`.

    Args:
        folder: Of the expert.
        name: Which expert it must be; None takes any.

    Raises:
        UserError: If the folder holds no fitted expert, or another one.
    """
    path = folder / EXPERT
    if not path.is_file():
        raise UserError(f"No fitted expert at {folder}: {EXPERT} is missing. Run python -m scripts.fit_expert first.")
    saved: dict[str, Any] = read_json(path)
    if name is not None and saved["expert"] != name:
        raise UserError(f"{folder} holds the expert '{saved['expert']}', not '{name}'. Check the path.")
    return saved


def read_config(folder: Path, name: str, schema: type[Config]) -> tuple[Config, str]:
    """The configuration that an expert was fitted with, and the hash of its backbone's weights.

    Raises:
        UserError: If the folder holds no fitted expert, or another one.
    """
    values = dict(read_expert(folder, name)["config"])
    weights_hash = str(values.pop("weights_hash"))
    config: Config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))  # type: ignore[assignment]
    return config, weights_hash


def check_backbone(folder: Path, backbone: Backbone, weights_hash: str) -> None:
    """Refuses an expert whose backbone has other weights now.

    Raises:
        UserError: Naming them.
    """
    if backbone.weights_hash != weights_hash:
        raise UserError(f"{folder} was fitted with other weights than {backbone.config.weights}. Fit it again.")


def write_tensors(folder: Path, category: str, file: str, tensors: Mapping[str, Tensor]) -> None:
    """Writes what was fitted on a category; the file appears whole or not at all."""
    path = make_dir(category_folder(folder, category)) / file
    with written_aside(path) as temporary:
        save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, temporary)


def read_tensors(folder: Path, category: str, file: str, what: str) -> dict[str, Tensor]:
    """Reads what was fitted on a category.

    Raises:
        UserError: If it is not there or damaged; `what` names it.
    """
    path = category_folder(folder, category) / file
    if not path.is_file():
        raise UserError(f"No {what} of '{category}' at {path}. Fit the expert again.")
    return read_file(path)


def category_folder(folder: Path, category: str) -> Path:
    """Where an expert keeps the files of a category; names that are no plain file names get a hash."""
    plain = re.sub(r"[^\w\-]+", "_", category)
    return folder / (plain if plain == category else f"{plain}_{hash_value(category)[:8]}")
