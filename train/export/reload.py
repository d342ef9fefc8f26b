"""python -m train.export.reload '{"kind": …}' FOUND.safetensors: the fresh process of a proof.

Loads one part of an export, by plain transformers and PEFT where they can, and writes what it says about the probe.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from data.errors import UserError
from models.device import DeviceConfig, Placement, Precision
from models.exported import MODEL, load_exported_eddm, load_exported_mdlm, read_export
from models.mdlm.files import ADAPTER
from models.weights.checkpoint import Identity, require
from models.weights.trust import admit
from train.export.probe import load_processor, probe_chat, probe_eddm, probe_mdlm
from train.export.written import choose_passes, exact


def reload(
    kind: str, folder: Path, bases: dict[str, str], *, trust_remote_code: bool, device: str, precision: str
) -> dict[str, Tensor]:
    """Loads a part and probes it.

    Args:
        kind: `eddm` or `mdlm`.
        folder: The part.
        bases: Where its bases are, by argument of the loader.
        trust_remote_code: Whether code that comes with the weights has to run, and may.
        device: Where the original was probed, for the very same arithmetic.
        precision: The number format that it was probed in.
    """
    where = DeviceConfig(device=device, precision=Precision(precision))
    if kind == "mdlm":
        return probe_mdlm(load_exported_mdlm(folder, **bases, where=exact(where)))
    held, passes = choose_passes(where, read_export(folder, "eddm")["dtype"])
    with passes:
        if not trust_remote_code:
            return _probe_plain(folder, bases.get("base"), held)
        kept = Precision.float32 if held.number == "float32" else Precision.auto
        where = DeviceConfig(device=device, precision=kept)
        eddm = load_exported_eddm(folder, **bases, trust_remote_code=True, batch_size=1, where=where)
        return probe_chat(eddm.chat)


def _probe_plain(folder: Path, base: str | None, placement: Placement) -> dict[str, Tensor]:
    """EDDM without any code of this project between the files and the logits."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    export = read_export(folder, "eddm")
    merged: bool = export["merged"]
    place = folder / MODEL if merged else require(Identity.from_json(export["bases"]["base"]), base, what="base")
    place = admit(place).place
    model: Any = AutoModelForImageTextToText.from_pretrained(
        place, dtype=placement.dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    whole = model if merged else PeftModel.from_pretrained(model, str(folder / ADAPTER))
    return probe_eddm(placement.place(whole), load_processor(place))


def main() -> None:
    """Reads what to load, writes the tensors."""
    values = json.loads(sys.argv[1])
    try:
        found = reload(values.pop("kind"), Path(values.pop("folder")), **values)
    except UserError as error:
        sys.exit(f"error: {error}")
    save_file({name: value.contiguous() for name, value in found.items()}, sys.argv[2])


if __name__ == "__main__":
    main()
