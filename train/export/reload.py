"""python -m train.export.reload SPEC.json: the fresh process of a proof.

Loads one part of an export, by plain transformers and PEFT where they can, and writes what it says about the probe.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from data.errors import UserError
from data.files import read_json
from models.device import DeviceConfig
from models.exported import MODEL, load_exported_eddm, load_exported_mdlm, read_export
from models.mdlm.files import ADAPTER
from models.weights.checkpoint import Identity, require
from train.export.probe import probe_chat, probe_eddm, probe_mdlm

ON_CPU = DeviceConfig(device="cpu")  # where the original was probed, in the very same arithmetic


def reload(spec: dict[str, Any]) -> dict[str, Tensor]:
    """Loads the part that `spec` names and probes it.

    Args:
        spec: `kind`, `folder`, `bases` (paths by the loader's argument), `trust_remote_code`.
    """
    folder, bases = Path(spec["folder"]), spec["bases"]
    if spec["kind"] == "mdlm":
        return probe_mdlm(load_exported_mdlm(folder, **bases, where=ON_CPU))
    if spec["trust_remote_code"]:
        chat: Any = load_exported_eddm(folder, **bases, trust_remote_code=True, batch_size=1, where=ON_CPU).chat
        return probe_chat(chat, chat.engine.model)
    return _reload_plain(folder, bases.get("base"))


def _reload_plain(folder: Path, base: str | None) -> dict[str, Tensor]:
    """EDDM without any code of this project between the files and the logits."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    export = read_export(folder, "eddm")
    whole = (
        folder / MODEL if export["merged"] else require(Identity.from_json(export["bases"]["base"]), base, what="base")
    )
    dtype = getattr(torch, export["dtype"])
    model: Any = AutoModelForImageTextToText.from_pretrained(whole, dtype=dtype, local_files_only=True)
    if not export["merged"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(folder / ADAPTER))
    return probe_eddm(model, AutoProcessor.from_pretrained(whole, local_files_only=True))


def main() -> None:
    """Reads the spec, writes the tensors."""
    spec = read_json(Path(sys.argv[1]))
    try:
        found = reload(spec)
    except UserError as error:
        sys.exit(f"error: {error}")
    save_file({name: value.contiguous() for name, value in found.items()}, spec["found"])


if __name__ == "__main__":
    main()
