"""Exports EDDM: its LoRA with the tokenizer, or the whole model for transformers, PEFT, ms-swift and `swift deploy`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor

from data.errors import UserError
from data.files import read_json, write_json
from data.run import Run
from models.chat.protocol import ChatModel
from models.device import DeviceConfig
from models.eddm.eddm import find_base, load_trained_chat, place_trained
from models.exported import MODEL
from models.mdlm.files import ADAPTER, TOKENIZER
from models.weights.checkpoint import identify
from models.weights.hub import resolve_checkpoint
from models.weights.shards import count_parameters, list_pickles, list_shards
from models.weights.trust import Admitted
from train.export.config import ExportConfig
from train.export.part import (
    PROCESSOR_FILES,
    TOKENIZER_FILES,
    Written,
    coarser,
    copy_files,
    name_dtype,
    own_code,
    save_model,
    write_manifest,
)
from train.export.probe import probe_chat, probe_eddm


def missing_eddm(run: Run) -> str:
    """Why the run holds no EDDM that can be exported; empty if it does.

    Raises:
        UserError: If its adapter is a pickle.
    """
    adapter = run.eddm / "adapter"
    if not (adapter / "adapter_model.safetensors").is_file():
        for path in list_pickles(adapter, "adapter_model"):
            raise UserError(f"{path} is a pickle, which may run code when loaded. Train EDDM again: safetensors.")
        return f"no trained adapter in {adapter}"
    if not (run.eddm / "config.json").is_file():
        return f"the training in {run.eddm} is not finished"
    return ""


def size_eddm(run: Run, config: ExportConfig) -> int:
    """Bytes that the export will take."""
    if not config.merge:
        return _size(run.eddm / "adapter") + 2**24
    trained = read_json(run.eddm / "config.json")["trained"]
    bytes_each = getattr(torch, str(config.dtype or trained["torch_dtype"])).itemsize
    return count_parameters(list_shards(_base(run, trained))) * bytes_each + 2**24


def write_eddm(run: Run, folder: Path, config: ExportConfig) -> Written:
    """Writes the part.

    Raises:
        UserError: If the base is missing, not whole, runs code that is not allowed, or no longer fits the adapter.
    """
    trained: dict[str, Any] = read_json(run.eddm / "config.json")["trained"]
    admitted = find_base(run, trained, trust_remote_code=config.trust_remote_code)
    base = admitted.place
    identity = identify(str(base) if trained["local"] else trained["base"], trained["revision"], admitted.code)
    chat, model = _load(trained, admitted, run.eddm / "adapter")
    reference = _probe(chat, model, admitted)
    own = next(model.parameters()).dtype
    dtype = getattr(torch, config.dtype) if config.merge and config.dtype else own
    if config.merge:
        whole = model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model
        save_model(whole, folder / MODEL, dtype, config.shard_gib)
        code = ("*.py",) if admitted.trust_remote_code else ()
        copy_files(base, folder / MODEL, (*TOKENIZER_FILES, *PROCESSOR_FILES, *code))
        own_code(folder / MODEL)
    else:
        _copy_adapter(run.eddm / "adapter", folder / ADAPTER, None if trained["local"] else identity)
        copy_files(base, folder / TOKENIZER, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    kept = {key: value for key, value in trained.items() if key not in ("base", "local", "revision")}
    export = {
        "merged": config.merge,
        "dtype": name_dtype(dtype),
        "bases": {"base": identity.to_json()},
        "trained": {**kept, "base": identity.name, "revision": identity.revision},
    }
    write_manifest(folder, "eddm", export)
    return Written(
        kind="eddm",
        folder=folder,
        reference=reference,
        dtype=coarser(own, dtype),
        bases={} if config.merge else {"base": str(base)},
        trust_remote_code=admitted.trust_remote_code,
    )


def _load(trained: dict[str, Any], base: Admitted, adapter: Path) -> tuple[ChatModel, Any]:
    """The run's own EDDM, on the CPU, and the model inside."""
    try:
        placement = place_trained(trained, DeviceConfig(device="cpu"))
        chat: Any = load_trained_chat(trained, base, adapter, placement, name="run", batch_size=1)
    except (RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).strip().splitlines()
        raise UserError(
            f"The adapter {adapter} does not fit the base {base.place}: {' '.join(reason[:2])} Train EDDM again."
        ) from error
    return chat, chat.engine.model if hasattr(chat, "engine") else chat.model


def _probe(chat: ChatModel, model: Any, base: Admitted) -> dict[str, Tensor]:
    if base.trust_remote_code:
        return probe_chat(chat, model)
    return probe_eddm(model, AutoProcessor.from_pretrained(base.place, local_files_only=True))


def _base(run: Run, trained: dict[str, Any]) -> Path:
    if trained["local"]:
        base = run.eddm / trained["base"]
        if not base.is_dir():
            raise UserError(f"No base checkpoint at {base}. Train EDDM again, or copy the whole run directory.")
        return base.resolve()
    return resolve_checkpoint(trained["base"], trained["revision"])


def _copy_adapter(source: Path, target: Path, hub: Any) -> None:
    """Copies the PEFT directory; its config names a hub base, or none, and never a path."""
    target.mkdir(parents=True)
    shutil.copyfile(source / "adapter_model.safetensors", target / "adapter_model.safetensors")
    details = read_json(source / "adapter_config.json")
    named = {"base_model_name_or_path": hub.name if hub else None, "revision": hub.revision if hub else None}
    write_json(target / "adapter_config.json", details | named)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
