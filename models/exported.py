"""Loading what `scripts.export_adapter` wrote: EDDM and MDLM, as adapters of a known base or merged and whole.

    eddm/manifest.json  adapter/ tokenizer/                          or  model/
    mdlm/manifest.json  adapter/ heads.safetensors tokenizer/        or  llava/ sam.safetensors heads.safetensors

`manifest.json` names the files with their sizes and, for adapters, the base: any other base is refused. Nothing in an
export names a path of the machine that wrote it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration

from data.errors import UserError
from data.files import hash_file, read_json
from data.readers.annotations import find_inside
from models.device import DeviceConfig
from models.eddm.eddm import EDDM, load_trained_chat, place_trained
from models.mdlm.files import ADAPTER, HEADS, MANIFEST, load_trained, read_config
from models.mdlm.llava import SEG_TOKEN
from models.mdlm.model import MDLM, assemble, build_processor
from models.mdlm.sam import build_sam
from models.weights.checkpoint import Identity, hash_weights, require
from models.weights.shards import find_adapter, refuse_pickles
from models.weights.tensors import read_tensors
from models.weights.trust import admit

MODEL, LLAVA, SAM = "model", "llava", "sam.safetensors"
EXPORT_FORMAT = 1


def load_exported_eddm(
    folder: str | Path,
    *,
    base: str | None = None,
    trust_remote_code: bool = False,
    batch_size: int = 64,
    where: DeviceConfig | None = None,
) -> EDDM:
    """Loads EDDM from an export.

    Args:
        folder: The export's `eddm` directory.
        base: Folder or hub id of the base of an adapter; None takes the hub id of the manifest.
        trust_remote_code: Whether the user allows code that comes with the weights; the manifest says only which.
        batch_size: Questions a batch.
        where: Device and number format; None leaves both open, see `DeviceConfig`.

    Raises:
        UserError: If files are missing, the base is another one, or it runs code that is not allowed or has changed.
    """
    folder = Path(folder)
    export = read_export(folder, "eddm")
    trained = dict(export["trained"])
    if export["merged"]:
        place, adapter = folder / MODEL, None
        trained["torch_dtype"] = export["dtype"]
        model, weights = hash_weights(place)[:16], ""
    else:
        place = require(Identity.from_json(export["bases"]["base"]), base, what="base")
        adapter = folder / ADAPTER
        model = export["bases"]["base"]["weights"][:16]
        weights = hash_file(find_adapter(adapter))[:16]
    pin, code = trained.get("revision"), trained.get("code")
    whole = admit(place, revision=pin, trusted=trust_remote_code, code=code)
    placement = place_trained(trained, where)
    chat = load_trained_chat(trained, whole, adapter, placement, name=f"{model}+{weights}", batch_size=batch_size)
    return EDDM(chat, trained["defects"], model=model, adapter=weights)


def load_exported_mdlm(
    folder: str | Path, *, llava: str | None = None, sam: str | None = None, where: DeviceConfig | None = None
) -> MDLM:
    """Loads the MDLM from an export, in evaluation mode.

    Args:
        folder: The export's `mdlm` directory.
        llava: Folder or hub id of LLaVA, for an adapter; None takes the hub id of the manifest.
        sam: SAM's checkpoint, for an adapter; None as above.
        where: Device and number format; None leaves both open, see `DeviceConfig`.

    Raises:
        UserError: If files are missing or damaged, or a base is another one.
    """
    folder = Path(folder)
    export = read_export(folder, "mdlm")
    config = read_config(folder)
    placement = (where or DeviceConfig()).place()
    if export["merged"]:
        return _load_merged(folder, getattr(torch, export["dtype"])).place(placement)
    bases = {name: Identity.from_json(values) for name, values in export["bases"].items()}
    config.heads = None  # the projection is in the heads
    config.llava.path = str(require(bases["llava"], llava, what="llava"))
    config.sam.checkpoint = str(require(bases["sam"], sam, what="sam"))
    return load_trained(folder, config, placement)


def read_export(folder: Path, kind: str) -> dict[str, Any]:
    """Reads a part's manifest and checks that its files are there, whole and no pickles.

    Args:
        folder: Directory of the part.
        kind: `eddm` or `mdlm`.

    Raises:
        UserError: If they are not.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(f"No export at {folder}: {MANIFEST} is missing. Give the folder {kind}/ of an export.")
    export = read_json(folder / MANIFEST).get("export")
    if not isinstance(export, dict) or export.get("kind") != kind:
        raise UserError(f"{folder / MANIFEST} is not the manifest of an exported {kind}. Check the path.")
    if export.get("format") != EXPORT_FORMAT:
        raise UserError(f"{folder / MANIFEST} has format {export.get('format')}, not {EXPORT_FORMAT}. Export it again.")
    refuse_pickles(folder)
    for name, size in export["files"].items():
        path = find_inside(folder, name, folder / MANIFEST, sealed=True)
        if not path.is_file():
            raise UserError(f"Missing file of the export: {path}. Copy or download it again.")
        if path.stat().st_size != size:
            raise UserError(f"{path} has {path.stat().st_size} bytes, not {size}. Copy or download it again.")
    return export


def list_files(folder: Path) -> dict[str, int]:
    """Files of a part with their sizes in bytes, the manifest left out."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _load_merged(folder: Path, dtype: torch.dtype) -> MDLM:
    config = read_config(folder)
    config.sam.checkpoint, config.heads = str(folder / SAM), None  # whatever place the manifest names
    path = admit(folder / LLAVA, flag=None).place
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        llava = LlavaNextForConditionalGeneration.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"The LLaVA at {path} does not load: {str(error).splitlines()[0]} Export it again.") from error
    llava.requires_grad_(False)
    sam = build_sam(config.sam)
    seg_id = int(tokenizer.get_vocab()[SEG_TOKEN])
    model = assemble(llava, seg_id, sam, config, build_processor(llava, tokenizer, sam, config.llava))
    _load_rest(model, read_tensors(folder / HEADS), folder / HEADS)
    return model.eval()


def _load_rest(model: MDLM, state: dict[str, Tensor], path: Path) -> None:
    """Loads everything outside LLaVA and SAM."""
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit: {str(error).splitlines()[1].strip()} Export it again.") from error
    lacking = [name for name in missing if not name.startswith(("llava.", "sam."))]
    if lacking or unexpected:
        raise UserError(f"{path} has other parts than the model: {[*lacking, *unexpected][:3]}. Export it again.")
