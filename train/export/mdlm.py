"""Exports the MDLM: its adapter, heads and tokenizer, or LLaVA merged and SAM whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from data.errors import UserError
from data.files import read_json
from data.run import Run
from data.training.grounding import DescriptionMode
from models.device import DeviceConfig
from models.exported import LLAVA, SAM
from models.mdlm.files import ADAPTER, HEADS, MANIFEST, load_trained, read_config, save_adapter
from models.mdlm.llava import SEG_TOKEN
from models.mdlm.model import MDLMConfig
from models.mdlm.sam_lora import merge_sam_lora
from models.weights.checkpoint import identify
from models.weights.hub import resolve_checkpoint
from models.weights.shards import count_parameters, list_pickles, list_shards
from train.export.config import ExportConfig
from train.export.probe import probe_mdlm
from train.export.written import (
    CARD_AND_MANIFEST,
    PROCESSOR_FILES,
    Written,
    coarsest,
    copy_files,
    count_bytes,
    exact,
    name_dtype,
    save_model,
    write_manifest,
)


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
    if (folder / MANIFEST).is_file() and (folder / "config.json").is_file():
        return ""
    return f"the training in {folder} is not finished" if folder.is_dir() else f"no MDLM in {folder}"


def choose_mdlm(run: Run, wanted: DescriptionMode | None) -> DescriptionMode:
    """Which MDLM: the wanted one; else `eddm`, as in the paper; else the only one.

    Raises:
        UserError: If none was chosen and there are several without `eddm`.
    """
    held = [wanted] if wanted else [mode for mode in DescriptionMode if not missing_mdlm(run, mode)]
    if len(held) > 1 and DescriptionMode.eddm not in held:
        raise UserError(f"{run.mdlm} holds several MDLMs: choose description={'|'.join(mode.value for mode in held)}.")
    return held[0] if len(held) == 1 else DescriptionMode.eddm


def size_mdlm(run: Run, mode: DescriptionMode, config: ExportConfig) -> int:
    """Bytes that the export will take."""
    folder = run.mdlm / mode.value
    if not config.merge:
        return count_bytes(folder) + CARD_AND_MANIFEST
    settings = read_config(folder)
    places = _find_bases(settings, folder)
    llava = count_parameters(list_shards(places["llava"]))
    dtype = getattr(torch, config.dtype or settings.llava.precision)
    heads = (folder / HEADS).stat().st_size
    return llava * dtype.itemsize + places["sam"].stat().st_size + heads + CARD_AND_MANIFEST


def write_mdlm(run: Run, mode: DescriptionMode, folder: Path, config: ExportConfig) -> Written:
    """Writes the part.

    Raises:
        UserError: If a base is missing or not whole, or SAM started from weights that were never saved.
    """
    source = run.mdlm / mode.value
    settings = read_config(source)
    places = _find_bases(settings, source)
    bases = {"llava": identify(str(places["llava"]), settings.llava.revision), "sam": identify(str(places["sam"]))}
    settings.heads = None  # only where the projection started; the trained one is in the heads
    placement = exact(config).place()
    model = load_trained(source, settings, placement)
    assert model.processor is not None
    reference = probe_mdlm(model)
    llava: Any = model.llava.model
    own = next(llava.parameters()).dtype
    dtype = getattr(torch, config.dtype) if config.dtype else own
    tokenizer: Any = model.processor.tokenizer
    if config.merge:
        save_model(llava.merge_and_unload(safe_merge=True), folder / LLAVA, dtype, config.shard_gib)
        tokenizer.save_pretrained(str(folder / LLAVA))
        copy_files(places["llava"], folder / LLAVA, PROCESSOR_FILES)
        merge_sam_lora(model.sam)
        save_file(_copy(model.sam.state_dict()), folder / SAM)
        rest = {name: value for name, value in model.state_dict().items() if not name.startswith(("llava.", "sam."))}
        save_file(_copy(rest), folder / HEADS)
    else:
        save_adapter(model, tokenizer, settings, folder)
        (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the export has one of its own
    values: dict[str, Any] = asdict(settings)
    values["llava"]["path"] = f"./{LLAVA}" if config.merge else bases["llava"].name
    values["sam"]["checkpoint"] = f"./{SAM}" if config.merge else bases["sam"].name
    if config.merge:
        values["sam_lora"] = "none"
    export = {
        "merged": config.merge,
        "dtype": name_dtype(dtype),
        "description": mode.value,
        "seg": {"token": SEG_TOKEN, "id": model.llava.seg_id},
        "bases": {name: identity.to_json() for name, identity in bases.items()},
    }
    manifest = read_json(source / MANIFEST)
    told = manifest.get("descriptions")
    write_manifest(folder, "mdlm", export, format=manifest["format"], mdlm=values, descriptions=told)
    return Written(
        kind="mdlm",
        folder=folder,
        reference=reference,
        dtype=coarsest(own, dtype, placement.dtype),
        where=DeviceConfig(device=config.device, precision=config.precision),
        bases={} if config.merge else {name: str(place) for name, place in places.items()},
    )


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor with memory of its own, as safetensors wants it."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _find_bases(settings: MDLMConfig, source: Path) -> dict[str, Path]:
    if settings.sam.checkpoint is None:
        raise UserError(f"The SAM of {source} started from random weights that were not kept: nothing can reload it.")
    llava = resolve_checkpoint(settings.llava.path, settings.llava.revision)
    return {"llava": llava, "sam": resolve_checkpoint(settings.sam.checkpoint)}
