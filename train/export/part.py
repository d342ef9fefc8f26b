"""What the exporters of EDDM and MDLM share: the record of a written part, casting, copying, saving whole models."""

from __future__ import annotations

import fnmatch
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError
from data.files import read_json, write_json
from models.exported import EXPORT_FORMAT, list_files
from models.mdlm.files import MANIFEST

TOKENIZER_FILES = (
    "tokenizer*.json",
    "tokenizer.model",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
PROCESSOR_FILES = ("*processor_config.json", "chat_template*", "video_preprocessor_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A part that was written and is not proven yet.

    Attributes:
        kind: `eddm` or `mdlm`.
        folder: Where it lies.
        reference: What the run's own model says about the probe, by name.
        dtype: Coarsest number format on either side of the comparison.
        bases: Where its base checkpoints are on this machine, by argument of the loader; empty when merged.
        trust_remote_code: Whether loading needs the code that comes with the weights.
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
    model.to(dtype)
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise UserError(f"{name} holds values that {name_dtype(dtype)} cannot. Choose dtype=bfloat16 or float32.")
    model.save_pretrained(folder, max_shard_size=max(1, int(shard_gib * 2**30)))


def copy_files(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    """Copies the files of a checkpoint whose names match; links into the hub's cache become files."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns):
            shutil.copyfile(path, target / path.name)


def own_code(folder: Path) -> None:
    """Lets a config name the code beside it instead of the repository that it came from."""
    config = read_json(folder / "config.json")
    if "auto_map" in config:
        config["auto_map"] = {name: value.split("--")[-1] for name, value in config["auto_map"].items()}
        write_json(folder / "config.json", config)


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """State of a module with its LoRA layers merged, under the names it has without them."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # slow to import

    for layer in module.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): value.detach().cpu().contiguous().clone()
        for name, value in module.state_dict().items()
        if ".lora_" not in name
    }
