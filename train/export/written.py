"""What the exporters of EDDM and MDLM share: the record of a written part, whole models, copies, the manifest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import UserError
from data.files import write_json
from models.exported import EXPORT_FORMAT, list_files
from models.mdlm.files import MANIFEST

PROCESSOR_FILES = ("*processor_config.json", "chat_template*")
TOKENIZER_FILES = (
    "tokenizer*.json",
    "tokenizer.model",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added*.json",
)
CARD_AND_MANIFEST = 2**24  # bytes, and more than enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A part that was written and is not proven yet.

    Attributes:
        kind: `eddm` or `mdlm`.
        folder: Where it lies.
        reference: What the run's own model says about the probe, by name.
        dtype: Coarsest number format on either side of the comparison.
        bases: Where its base checkpoints are on this machine, by argument of the loader; empty when merged.
        trust_remote_code: Whether code that comes with the weights has to run, and may.
    """

    kind: str
    folder: Path
    reference: dict[str, Tensor]
    dtype: torch.dtype
    bases: dict[str, str] = field(default_factory=dict)
    trust_remote_code: bool = False


def write_manifest(folder: Path, kind: str, export: dict[str, Any], **others: Any) -> None:
    """Lists the files; the last thing that is written of a part."""
    values = {"format": EXPORT_FORMAT, "kind": kind, **export, "files": list_files(folder)}
    write_json(folder / MANIFEST, {**others, "export": values})


def name_dtype(dtype: torch.dtype) -> str:
    """The name of a number format, as `float32`."""
    return str(dtype).removeprefix("torch.")


def coarser(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    """The number format of the larger rounding error."""
    return max(one, other, key=lambda dtype: torch.finfo(dtype).eps)


def save_model(model: Any, folder: Path, dtype: torch.dtype, shard_gib: float) -> None:
    """Casts a whole model and writes it as safetensors shards.

    Raises:
        UserError: If the model is quantised, or a weight does not fit the number format.
    """
    if getattr(model, "is_quantized", False):
        raise UserError(
            "merge=true needs weights in full precision, but the run loads its base quantised. Export with merge=false."
        )
    for name, parameter in model.to(dtype).named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise UserError(f"{name} holds values that {name_dtype(dtype)} cannot. Choose dtype=bfloat16 or float32.")
    model.save_pretrained(folder, max_shard_size=max(1, int(shard_gib * 2**30)))


def copy_files(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Copies the files of a checkpoint that match, with their folders; links into the hub's cache become files."""
    for pattern in patterns:
        for path in filter(Path.is_file, source.glob(pattern)):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def count_bytes(folder: Path) -> int:
    """Size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
