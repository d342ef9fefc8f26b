"""Exports the MDLM: its adapter, heads and tokenizer, or LLaVA merged and SAM whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.files import read_json
from data.run import Run
from data.training.grounding import DescriptionMode
from models.exported import LLAVA, SAM
from models.mdlm.files import ADAPTER, HEADS, MANIFEST, load_trained, read_config, save_adapter
from models.mdlm.llava import SEG_TOKEN
from models.mdlm.model import MDLM, MDLMConfig
from models.weights.checkpoint import identify
from models.weights.hub import resolve_checkpoint
from models.weights.shards import count_parameters, list_pickles, list_shards
from train.export.config import ExportConfig
from train.export.part import (
    PROCESSOR_FILES,
    Written,
    coarser,
    copy_files,
    name_dtype,
    plain_state,
    save_model,
    write_manifest,
)
from train.export.probe import probe_mdlm


def missing_mdlm(run: Run, mode: DescriptionMode) -> str:
    """Why the run holds no MDLM of this mode that can be exported; empty if it does.

    Raises:
        UserError: If its weights are pickles.
    """
    folder = run.mdlm / mode.value
    for place, name in ((folder / ADAPTER, "adapter_model"), (folder, Path(HEADS).stem)):
        if place.is_dir() and not (place / f"{name}.safetensors").is_file():
            for path in list_pickles(place, name):
                raise UserError(f"{path} is a pickle, which may run code when loaded. Train the MDLM again.")
    if not (folder / MANIFEST).is_file() or not (folder / "config.json").is_file():
        return f"the training in {folder} is not finished" if folder.is_dir() else f"no MDLM in {folder}"
    return ""


def choose_mdlm(run: Run, wanted: DescriptionMode | None) -> DescriptionMode:
    """Which MDLM: the wanted one; else `eddm`, as in the paper; else the only one.

    Raises:
        UserError: If none was chosen and there are several without `eddm`.
    """
    if wanted is not None:
        return wanted
    held = [mode for mode in DescriptionMode if not missing_mdlm(run, mode)]
    if len(held) > 1 and DescriptionMode.eddm not in held:
        raise UserError(f"{run.mdlm} holds several MDLMs: choose description={'|'.join(mode.value for mode in held)}.")
    return held[0] if len(held) == 1 else DescriptionMode.eddm


def size_mdlm(run: Run, mode: DescriptionMode, config: ExportConfig) -> int:
    """Bytes that the export will take."""
    folder = run.mdlm / mode.value
    if not config.merge:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) + 2**24
    settings = read_config(folder)
    llava = count_parameters(list_shards(resolve_checkpoint(settings.llava.path, _revision(settings))))
    bytes_each = getattr(torch, str(config.dtype or settings.llava.precision)).itemsize
    sam = Path(settings.sam.checkpoint).stat().st_size if settings.sam.checkpoint else 0
    return llava * bytes_each + sam + (folder / HEADS).stat().st_size + 2**24


def write_mdlm(run: Run, mode: DescriptionMode, folder: Path, config: ExportConfig) -> Written:
    """Writes the part.

    Raises:
        UserError: If a base is missing or not whole, or SAM started from weights that were never saved.
    """
    source = run.mdlm / mode.value
    settings = read_config(source)
    if settings.sam.checkpoint is None:
        raise UserError(f"The SAM of {source} started from random weights that were not kept: nothing can reload it.")
    bases = {
        "llava": identify(settings.llava.path, _revision(settings)),
        "sam": identify(settings.sam.checkpoint),
    }
    places = {
        "llava": str(resolve_checkpoint(settings.llava.path, _revision(settings))),
        "sam": str(resolve_checkpoint(settings.sam.checkpoint)),
    }
    settings.heads = None  # only where the projection started; the trained one is in the heads
    model = load_trained(source, settings)
    assert model.processor is not None
    reference = probe_mdlm(model)
    own = next(model.llava.model.parameters()).dtype
    dtype = getattr(torch, config.dtype) if config.merge and config.dtype else own
    if config.merge:
        _write_merged(model, settings, Path(places["llava"]), folder, dtype, config.shard_gib)
        settings.llava.path, settings.sam.checkpoint = str(folder / LLAVA), str(folder / SAM)
    else:
        save_adapter(model, model.processor.tokenizer, settings, folder)
    export = {
        "merged": config.merge,
        "dtype": name_dtype(dtype),
        "description": mode.value,
        "seg": {"token": SEG_TOKEN, "id": model.llava.seg_id},
        "bases": {name: identity.to_json() for name, identity in bases.items()},
    }
    values: dict[str, Any] = asdict(settings)
    values["llava"]["path"] = f"./{LLAVA}" if config.merge else bases["llava"].name
    values["sam"]["checkpoint"] = f"./{SAM}" if config.merge else bases["sam"].name
    if config.merge and "sam_lora" in values:
        values["sam_lora"] = "none"
    for readme in folder.glob(f"{ADAPTER}/README.md"):
        readme.unlink()  # PEFT's empty card; the export has one of its own
    manifest = read_json(source / MANIFEST)
    told = manifest.get("descriptions")
    write_manifest(folder, "mdlm", export, format=manifest["format"], mdlm=values, descriptions=told)
    return Written(
        kind="mdlm",
        folder=folder,
        reference=reference,
        dtype=coarser(own, dtype),
        bases={} if config.merge else places,
    )


def _write_merged(
    model: MDLM, settings: MDLMConfig, base: Path, folder: Path, dtype: torch.dtype, shard_gib: float
) -> None:
    """LLaVA with its adapter added and [SEG] in its embeddings; SAM whole; everything else as heads."""
    assert model.processor is not None
    folder.mkdir(parents=True, exist_ok=True)
    peft: Any = model.llava.model
    save_model(peft.merge_and_unload(safe_merge=True), folder / LLAVA, dtype, shard_gib)
    model.processor.tokenizer.save_pretrained(str(folder / LLAVA))
    copy_files(base, folder / LLAVA, PROCESSOR_FILES)
    save_file(plain_state(model.sam), folder / SAM)
    heads = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
        if not name.startswith(("llava.", "sam."))
    }
    save_file(heads, folder / HEADS)


def _revision(settings: MDLMConfig) -> str | None:
    """The pinned revision of LLaVA, where the configuration has one."""
    return getattr(settings.llava, "revision", None)
