"""Saving and loading what was trained of an MDLM: a PEFT directory, one safetensors file, a tokenizer, a manifest.

    adapter/            LoRA and the [SEG] row (PEFT)
    heads.safetensors   [SEG] projection, DAM, mask decoder
    tokenizer/
    manifest.json       sizes, switches, where the base checkpoints are, and how images are described to it

Local base checkpoints are named relative to the directory, and those that ship with the code by name, so a run
directory can be moved or copied.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from data.errors import UserError, writing
from data.files import read_json, write_json
from data.processes.aside import share, written_aside
from data.run import Run
from data.training.grounding import DescriptionMode
from models.device import CPU, Placement
from models.mdlm.model import MDLM, MDLMConfig, create_mdlm
from models.weights.shards import find_adapter
from models.weights.shipped import find_shipped, is_shipped, name_shipped
from models.weights.tensors import read_tensors

FORMAT = 1
ADAPTER, HEADS, TOKENIZER, MANIFEST = "adapter", "heads.safetensors", "tokenizer", "manifest.json"


def save_adapter(
    model: MDLM,
    tokenizer: PreTrainedTokenizerBase,
    config: MDLMConfig,
    folder: Path,
    descriptions: dict[str, Any] | None = None,
) -> None:
    """Writes the trained parts; the manifest comes last and marks the directory as complete.

    Args:
        model: The trained MDLM, with its adapter.
        tokenizer: LLaVA's, with [SEG].
        config: What the model was built from.
        folder: Where to write; existing files are replaced.
        descriptions: Manner of the descriptions that it was trained with (`Manner.facts`); None without any.
    """
    manifest = folder / MANIFEST
    manifest.unlink(missing_ok=True)
    peft: Any = model.llava.model
    with writing(folder / ADAPTER):
        peft.save_pretrained(str(folder / ADAPTER), save_embedding_layers=False)
    share(folder / ADAPTER)
    adapter_config = folder / ADAPTER / "adapter_config.json"
    write_json(adapter_config, {**read_json(adapter_config), "base_model_name_or_path": None})
    with written_aside(folder / HEADS) as temporary:
        save_file(head_state(model), temporary)
    with writing(folder / TOKENIZER):
        tokenizer.save_pretrained(str(folder / TOKENIZER))
    share(folder / TOKENIZER)
    built = _with_paths(asdict(config), lambda path: _relative(path, folder))
    write_json(manifest, {"format": FORMAT, "mdlm": built, "descriptions": descriptions})


def load_adapter(folder: Path, placement: Placement = CPU) -> MDLM:
    """Loads a trained MDLM, in evaluation mode.

    Args:
        folder: Where `save_adapter` wrote it.
        placement: Where and in which number format it shall predict.

    Raises:
        UserError: If the directory is not one, is incomplete, or its base checkpoints are gone or of other sizes.
    """
    return load_trained(folder, read_config(folder), placement)


def read_config(folder: Path) -> MDLMConfig:
    """What a trained MDLM was built from, with the paths of its base checkpoints.

    Raises:
        UserError: If the directory holds no trained MDLM.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"No trained MDLM at {folder}: {MANIFEST} is missing. Run scripts.train_mdlm, or check the path."
        )
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise UserError(f"{folder / MANIFEST} has format {manifest.get('format')}, not {FORMAT}. Train the MDLM again.")
    values = _with_paths(manifest["mdlm"], lambda path: _resolve(path, folder))
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(MDLMConfig), values))  # type: ignore[return-value]


def load_trained(folder: Path, config: MDLMConfig, placement: Placement = CPU) -> MDLM:
    """Builds the MDLM of a configuration and puts the trained parts of a directory on it, in evaluation mode.

    Args:
        folder: Holds the trained parts.
        config: What they were trained on.
        placement: Where and in which number format it shall predict.

    Raises:
        UserError: If the directory is incomplete or holds a pickle, or the base checkpoints are gone or of other sizes.
    """
    find_adapter(folder / ADAPTER)
    model = create_mdlm(config, device=placement.device)
    try:
        set_peft_model_state_dict(model.llava.model, load_peft_weights(str(folder / ADAPTER), device="cpu"))
        load_heads(model, read_tensors(folder / HEADS))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The MDLM at {folder} does not load: {str(error).splitlines()[0]} Train it again.") from error
    return model.eval().place(placement)


def load_mdlm(run: Run, mode: DescriptionMode | str, placement: Placement = CPU) -> MDLM:
    """Loads the MDLM that a run trained under a description mode.

    Args:
        run: The run.
        mode: The description mode.
        placement: Where and in which number format it shall predict.

    Raises:
        UserError: If the run holds none.
    """
    return load_adapter(run.mdlm / DescriptionMode(mode).value, placement)


def head_state(model: MDLM) -> dict[str, Tensor]:
    """Trained parameters outside LLaVA, by name."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not name.startswith("llava.")
    }


def load_heads(model: MDLM, state: dict[str, Tensor]) -> None:
    """Copies the trained parameters outside LLaVA.

    Raises:
        ValueError: If names or shapes differ from the model's.
    """
    own = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("llava.")}
    if own.keys() != state.keys():
        raise ValueError(f"trained parts differ: {sorted(own.keys() ^ state.keys())[:3]}.")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}, not {tuple(parameter.shape)}.")
            parameter.copy_(state[name])


def _with_paths(values: dict[str, Any], change: Any) -> dict[str, Any]:
    """The configuration with its three paths changed."""
    llava, sam = values["llava"], values["sam"]
    return {
        **values,
        "llava": {**llava, "path": change(llava["path"])},
        "sam": {**sam, "checkpoint": change(sam["checkpoint"])},
        "heads": change(values["heads"]),
    }


def _relative(path: str | None, folder: Path) -> str | None:
    """By name if it ships with the code, else relative to the folder if it exists here; hub ids and None stay."""
    if path is None or not Path(path).exists():
        return path
    if shipped := name_shipped(path):
        return shipped
    return "./" + Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()


def _resolve(path: str | None, folder: Path) -> str | None:
    if path is not None and is_shipped(path):
        return str(find_shipped(path))
    return str((folder / path).resolve()) if path is not None and path.startswith("./") else path
