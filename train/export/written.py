"""What the exporters of EDDM and MDLM share: the record of a written part, whole models, copies, the manifest."""

from __future__ import annotations

import contextlib
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.errors import UserError
from data.files import write_json
from models.device import DeviceConfig, Placement, Precision
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
        where: Device and number format of the comparison, on both sides.
        bases: Where its base checkpoints are on this machine, by argument of the loader; empty when merged.
        trust_remote_code: Whether code that comes with the weights has to run, and may.
    """

    kind: str
    folder: Path
    reference: dict[str, Tensor]
    dtype: torch.dtype
    where: DeviceConfig = field(default_factory=DeviceConfig)
    bases: dict[str, str] = field(default_factory=dict)
    trust_remote_code: bool = False


def choose_passes(where: DeviceConfig, own: str) -> tuple[Placement, AbstractContextManager[None]]:
    """How a proof of EDDM loads its weights, and the block that its passes run in.

    float32 weights are loaded where float32 is asked for, which loses nothing. A coarser format rounds the products
    alone: what is written keeps the weights' own.

    Args:
        where: Device and number format that were asked for.
        own: The weights' number format, as torch names it; `auto` proves in it.
    """
    asked = where.place(own)
    held = Placement(asked.where, "float32" if asked.number == "float32" else own)
    return held, contextlib.nullcontext() if asked == held else asked.autocast()


def exact(where: DeviceConfig) -> DeviceConfig:
    """`where` with `auto` as the format of the MDLM's weights on every device: on a GPU it predicts in bf16."""
    return replace(where, precision=Precision.float32) if where.precision is Precision.auto else where


def write_manifest(folder: Path, kind: str, export: dict[str, Any], **others: Any) -> None:
    """Lists the files; the last thing that is written of a part."""
    values = {"format": EXPORT_FORMAT, "kind": kind, **export, "files": list_files(folder)}
    write_json(folder / MANIFEST, {**others, "export": values})


def name_dtype(dtype: torch.dtype) -> str:
    """The name of a number format, as `float32`."""
    return str(dtype).removeprefix("torch.")


def coarsest(*formats: torch.dtype) -> torch.dtype:
    """The number format of the largest rounding error."""
    return max(formats, key=lambda dtype: torch.finfo(dtype).eps)


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
