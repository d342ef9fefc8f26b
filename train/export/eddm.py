"""Exports EDDM: its LoRA with the tokenizer, or the whole model for transformers, PEFT, ms-swift and `swift deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from data.files import read_json, write_json
from data.run import Run
from models.device import DeviceConfig
from models.eddm.eddm import find_base, load_trained_chat, own_format
from models.exported import MODEL
from models.mdlm.files import ADAPTER, TOKENIZER
from models.weights.checkpoint import identify
from models.weights.shards import count_parameters, list_pickles, list_shards
from models.weights.trust import hash_code
from train.export.config import ExportConfig
from train.export.probe import load_processor, probe_chat, probe_eddm
from train.export.written import (
    CARD_AND_MANIFEST,
    PROCESSOR_FILES,
    TOKENIZER_FILES,
    Written,
    choose_passes,
    coarsest,
    copy_files,
    count_bytes,
    name_dtype,
    save_model,
    write_manifest,
)


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
    return "" if (run.eddm / "config.json").is_file() else f"the training in {run.eddm} is not finished"


def size_eddm(run: Run, config: ExportConfig) -> int:
    """Bytes that the export will take."""
    if not config.merge:
        return count_bytes(run.eddm / "adapter") + CARD_AND_MANIFEST
    trained = read_json(run.eddm / "config.json")["trained"]
    base = find_base(run, trained, trust_remote_code=config.trust_remote_code).place
    dtype = getattr(torch, config.dtype or trained["torch_dtype"])
    return count_parameters(list_shards(base)) * dtype.itemsize + CARD_AND_MANIFEST


def write_eddm(run: Run, folder: Path, config: ExportConfig) -> Written:
    """Writes the part.

    Raises:
        UserError: If the base is missing, not whole, runs code that is not allowed, or no longer fits the adapter.
    """
    trained: dict[str, Any] = read_json(run.eddm / "config.json")["trained"]
    base = find_base(run, trained, trust_remote_code=config.trust_remote_code)
    identity = identify(str(base.place), base.revision, base.code)
    adapter = run.eddm / "adapter"
    own = own_format(trained)
    held, passes = choose_passes(config, own)
    try:
        chat: Any = load_trained_chat(trained, base, adapter, held, name="run", batch_size=1)
    except (RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).strip().splitlines()[:2])
        raise UserError(
            f"The adapter {adapter} does not fit the base {base.place}: {reason} Train EDDM again."
        ) from error
    model = chat.model
    with passes:
        reference = probe_chat(chat) if base.code else probe_eddm(model, load_processor(base.place))
    dtype = getattr(torch, config.dtype or own)
    code = base.code
    if config.merge:
        whole = model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model
        save_model(whole, folder / MODEL, dtype, config.shard_gib)
        # generation_config.json: transformers saves none for classes that it takes for no generating ones
        named = (*TOKENIZER_FILES, *PROCESSOR_FILES, "generation_config.json", *(["**/*.py"] if code else []))
        copy_files(base.place, folder / MODEL, named)
        code = hash_code(folder / MODEL) if code else None
    else:
        copy_files(adapter, folder / ADAPTER, ("adapter_model.safetensors", "adapter_config.json"))
        origin = {"base_model_name_or_path": identity.name if identity.hub else None}
        origin["revision"] = identity.revision if identity.hub else None
        settings = folder / ADAPTER / "adapter_config.json"
        write_json(settings, read_json(settings) | origin)
        copy_files(base.place, folder / TOKENIZER, (*TOKENIZER_FILES, *PROCESSOR_FILES))
    kept = {key: value for key, value in trained.items() if key not in ("base", "local")}
    export = {
        "merged": config.merge,
        "dtype": name_dtype(dtype),
        "bases": {"base": identity.to_json()},
        "trained": {**kept, "base": identity.name, "revision": identity.revision, "code": code},
    }
    write_manifest(folder, "eddm", export)
    return Written(
        kind="eddm",
        folder=folder,
        reference=reference,
        dtype=coarsest(getattr(torch, own), dtype, config.place(own).dtype),
        where=DeviceConfig(device=config.device, precision=config.precision),
        bases={} if config.merge else {"base": str(base.place)},
        trust_remote_code=base.trust_remote_code,
    )
