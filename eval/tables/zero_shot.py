"""The zero-shot methods of EIAD's Tables IV to VI: which checkpoints they need, and what the maps of one tell.

A method's row holds a figure only if its maps were made with published checkpoints, by their hashes: what random or
other weights give never stands beside a published figure. Other maps get a row of their own, under another name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_json
from models.experts.clip.backbone import ClipConfig
from models.experts.load import ON_CLIP, ExpertName
from models.experts.saa.expert import SAAConfig
from models.weights.diagnosis import Wanted, how_to_get, locate
from models.weights.wanted import wanted_by_expert

METHODS = (*ON_CLIP, ExpertName.saa_plus)  # named as their expert is
TOLD = "maps.json"  # what scripts.export_maps writes beside the maps
EXPORT = "python -m scripts.export_maps expert={method} dataset={dataset} data_root={root} out=DIR/{dataset}"


def lacking_maps(method: str, dataset: str, root: str) -> str:
    """What to say of a method without maps: missing checkpoints first, then the command that writes them.

    Args:
        method: One of `METHODS`.
        dataset: Its reader's name.
        root: Its folder.
    """
    wanted = [one for one in wanted_by_expert(method, ClipConfig(), SAAConfig()) if locate(one) is None]
    files = "; ".join(f"{_name(one)} ({how_to_get(one).rstrip('.')})" for one in wanted)
    examined = "saa" if method == ExpertName.saa_plus else "clip"
    missing = (
        f"missing {files}. `python -m scripts.doctor weights={examined}` examines what lies there. Then "
        if wanted
        else ""
    )
    command = EXPORT.format(method=method, dataset=dataset, root=root)
    return f"{missing or 'missing maps: '}write them: {command}; then give +maps.{method}=DIR."


def read_told(folder: Path) -> dict[str, Any]:
    """What the maps in a folder tell of their making; empty where another program wrote them."""
    path = folder / TOLD
    told = read_json(path) if path.is_file() else {}
    return told if isinstance(told, dict) else {}


def check_published(method: str, folder: Path, told: dict[str, Any]) -> str:
    """The checkpoints that a method's maps were made with, for its row.

    Args:
        method: One of `METHODS`.
        folder: Of the maps.
        told: What they tell.

    Raises:
        UserError: If they are another expert's, or a checkpoint is not known to be the published one.
    """
    own = f"For a row of their own give these maps another name: +maps.mine={folder.parent}."
    if told.get("expert") != method or not told.get("weights"):
        raise UserError(
            f"missing the checkpoints' hashes: the maps in {folder} do not say that `scripts.export_maps "
            f"expert={method}` made them, and with which weights. {own}"
        )
    if unknown := [one for one in told["weights"] if not one["published"]]:
        files = ", ".join(f"{one['file']} (SHA-256 {one['sha256'][:16]})" for one in unknown)
        raise UserError(
            f"missing published weights: {files}, with which the maps in {folder} were made, are not. {own}"
        )
    return ", ".join(f"{one['checkpoint']}: {one['file']} (SHA-256 {one['sha256'][:16]})" for one in told["weights"])


def _name(wanted: Wanted) -> str:
    return f"{wanted.inside} of {wanted.place}" if wanted.inside else wanted.place
