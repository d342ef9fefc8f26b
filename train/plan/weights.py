"""The doctor's examination of the checkpoints that the two trainings start from, or that an expert sees with."""

from __future__ import annotations

import json
from pathlib import Path

from data.doctor.examine import DoctorConfig
from data.errors import UserError
from data.files import write_json, write_text
from data.run import SHIPPED
from models.experts.saa.expert import SAAConfig
from models.weights.diagnosis import Wanted, examine_weights
from models.weights.table import TrainedPart
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig


def wanted_weights(eddm: EDDMConfig, mdlm: TrainMDLMConfig) -> list[Wanted]:
    """What the configured trainings start from, apart from what the run directory or the code itself holds."""
    sam = mdlm.mdlm.sam
    wanted = [
        Wanted(
            place=eddm.model.id,
            part=TrainedPart.eddm,
            key="model.id",
            revision=eddm.model.revision,
            trust_remote_code=eddm.model.trust_remote_code,
        ),
        Wanted(place=mdlm.mdlm.llava.path, part=TrainedPart.mdlm, key="mdlm.llava.path"),
    ]
    if sam.checkpoint is not None:
        wanted.append(Wanted(place=sam.checkpoint, part=TrainedPart.mdlm, key="mdlm.sam.checkpoint", sam=sam))
    at_hand = (Path(mdlm.run_dir), SHIPPED)
    return [one for one in wanted if not any(Path(one.place).is_relative_to(folder) for folder in at_hand)]


def wanted_by_saa(saa: SAAConfig) -> list[Wanted]:
    """What SAA+ sees with."""
    part = TrainedPart.expert
    wanted = [
        Wanted(place=saa.dino.path, part=part, key="saa.dino.path", revision=saa.dino.revision),
        Wanted(place=saa.backbone.weights, part=part, key="saa.backbone.weights", file=True),
    ]
    if saa.sam.checkpoint is not None:
        wanted.append(Wanted(place=saa.sam.checkpoint, part=part, key="saa.sam.checkpoint", sam=saa.sam))
    return wanted


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
