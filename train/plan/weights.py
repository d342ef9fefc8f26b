"""The doctor's examination of the checkpoints that the two trainings start from, or that an expert sees with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.doctor.examine import DoctorConfig
from data.errors import UserError
from data.files import write_json, write_text
from data.run import SHIPPED
from models.experts.clip.backbone import ClipConfig
from models.experts.saa.expert import SAAConfig
from models.weights.diagnosis import Wanted, examine_weights, how_to_get, locate
from models.weights.table import TrainedPart, find_checkpoint
from models.weights.wanted import wanted_by_clip, wanted_by_saa
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig

EXPERTS = {"clip": "winclip", "saa": "saa_plus"}  # weights= of the doctor → an expert that sees with them


def wanted_weights(eddm: EDDMConfig, mdlm: TrainMDLMConfig) -> list[Wanted]:
    """What the configured trainings start from, apart from what the run directory or the code itself holds."""
    sam, users = mdlm.mdlm.sam, (f"preset={mdlm.preset}",)
    wanted = [
        Wanted(
            place=eddm.model.id,
            part=TrainedPart.eddm,
            key="model.id",
            revision=eddm.model.revision,
            trust_remote_code=eddm.model.trust_remote_code,
            users=users,
        ),
        Wanted(place=mdlm.mdlm.llava.path, part=TrainedPart.mdlm, key="mdlm.llava.path", users=users),
    ]
    if sam.checkpoint is not None:
        place = sam.checkpoint
        wanted.append(Wanted(place=place, part=TrainedPart.mdlm, key="mdlm.sam.checkpoint", sam=sam, users=users))
    at_hand = (Path(mdlm.run_dir), SHIPPED)
    return [one for one in wanted if not any(Path(one.place).is_relative_to(folder) for folder in at_hand)]


def list_checkpoints(eddm: EDDMConfig, mdlm: TrainMDLMConfig) -> list[dict[str, Any]]:
    """The checkpoints of the configured trainings and of the zero-shot experts, for a plan: JSON values a file.

    Whether they are whole is the doctor's question: nothing of them is read here.
    """
    experts = [*wanted_by_clip(ClipConfig()), *wanted_by_saa(SAAConfig())]
    return [_describe(wanted) for wanted in (*wanted_weights(eddm, mdlm), *experts)]


def compose_checkpoints(checkpoints: Sequence[dict[str, Any]]) -> list[str]:
    """The same for a terminal: size, what it is, who wants it, and where it lies or how to get it."""
    lines = ["Checkpoints, which `python -m scripts.doctor weights=PRESET|clip|saa` examines:"]
    for one in checkpoints:
        size = "  ? GB" if one["gigabytes"] is None else f"{one['gigabytes']:5.2f} GB"
        lines.append(f"  {size}  {one['title']}; wanted by {', '.join(one['wanted_by'])}")
        lines.append(f"            {one['path'] or 'not here. ' + one['get']}")
    return lines


def _describe(wanted: Wanted) -> dict[str, Any]:
    entry, path = find_checkpoint(wanted.place), locate(wanted)
    return {
        "title": entry.title if entry else wanted.place,
        "wanted_by": list(wanted.users),
        "gigabytes": entry.gigabytes if entry else None,
        "path": str(path) if path else "",
        "get": "" if path else how_to_get(wanted),
    }


def diagnose_weights(config: DoctorConfig, wanted: list[Wanted]) -> bool:
    """Examines the checkpoints of `config.weights`, prints the result and saves it; returns whether there is no error.

    Args:
        config: What is asked.
        wanted: What `config.weights` stands for.

    Raises:
        UserError: If a dataset is named too, or a setting makes no sense.
    """
    if config.folder is not None or config.against is not None:
        raise UserError("weights= and data= are two examinations: run the doctor once for each.")
    if config.show < 1:
        raise UserError(f"show={config.show} must be at least 1.")
    diagnosis = examine_weights(str(config.weights), wanted, hashes=config.hashes, download=config.download)
    if config.out and config.out.endswith(".json"):
        write_json(Path(config.out), diagnosis.document())
    elif config.out:
        write_text(Path(config.out), diagnosis.text(show=None))
    document = json.dumps(diagnosis.document(), ensure_ascii=False)
    print(document if config.json else diagnosis.text(show=config.show), flush=True)
    return diagnosis.passed
