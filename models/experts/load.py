"""Which vision experts there are, by name."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, cast

from data.errors import UserError, suggest
from data.plugins.trust import is_plugin
from models.device import DeviceConfig
from models.experts.clip.backbone import ClipConfig
from models.experts.expert import Expert, Fitted
from models.experts.frame import Framed, read_frame
from models.experts.oracle import OracleExpert
from models.experts.own import OwnExpert, import_class, learns
from models.experts.patchcore import PatchCore
from models.experts.precomputed import PrecomputedExpert

if TYPE_CHECKING:
    from models.experts.saa.expert import SAAConfig


class ExpertName(StrEnum):
    """The vision experts; `anomalib` is followed by the name of its model: `anomalib:Padim`.

    The last one stands for all of the user's own.
    """

    oracle = "oracle"
    precomputed = "precomputed"
    patchcore = "patchcore"
    ddad = "ddad"
    mdlm = "mdlm"
    saa_plus = "saa_plus"
    winclip = "winclip"
    anoclip = "anoclip"
    clip_surgery = "clip_surgery"
    anomalib = "anomalib"
    own = "package.module:Class"


ON_CLIP = (ExpertName.winclip, ExpertName.anoclip, ExpertName.clip_surgery)
UNFITTED = (ExpertName.oracle, ExpertName.saa_plus, *ON_CLIP)  # a folder is no must
LEARNERS = (ExpertName.patchcore, ExpertName.ddad, ExpertName.anomalib)  # of others only the gate is fitted


def parse_expert(name: str) -> tuple[ExpertName, str]:
    """Splits `anomalib:Padim` into the expert and its model, which is empty for the others.

    One of the user's own is `own` and its name.

    Raises:
        UserError: If there is no such expert, or the model is missing or out of place.
    """
    kind, _, model = name.partition(":")
    if kind not in list(ExpertName) and is_plugin(name):
        return ExpertName.own, name
    known = ", ".join("anomalib:<Model>" if entry is ExpertName.anomalib else entry.value for entry in ExpertName)
    if kind not in list(ExpertName) or bool(model) != (kind == ExpertName.anomalib):
        raise UserError(f"Unknown expert '{name}'.{suggest(kind, ExpertName)} Known experts: {known}.")
    return ExpertName(kind), model


def load_expert(
    name: str,
    folder: str,
    *,
    trust_remote_code: bool = False,
    where: DeviceConfig | None = None,
    saa: SAAConfig | None = None,
    clip: ClipConfig | None = None,
) -> Expert:
    """Loads a vision expert.

    Args:
        name: Which one; of the user's own, the command line must allow it (`data.plugins.trust`).
        folder: Where it was fitted to, or where its maps are; the oracle needs none, SAA+ and
            those on CLIP only for what was fitted of them.
        trust_remote_code: Whether the user's command line allows code that comes with the weights of an EDDM.
        where: Device, and for `mdlm` number format; the others compute in float32. None leaves both open.
        saa: SAA+ without a folder.
        clip: Which CLIP a zero-shot expert sees with; of one from a folder only another place of its checkpoint.

    Raises:
        UserError: If there is no such expert, one of the user's own cannot be imported or lacks a method, or the folder
            is missing or holds another.
    """
    kind, model = parse_expert(name)
    if kind is ExpertName.oracle:
        return OracleExpert()
    if kind is ExpertName.saa_plus and saa is not None and not folder:
        from models.experts.saa.expert import SAA  # slow to import

        return SAA(saa if where is None or where.device == "auto" else replace(saa, device=where.device))
    if kind in ON_CLIP:
        from models.experts.clip.make import load_clip_expert, make_clip_expert  # slow to import

        config = replace(clip or ClipConfig(), device=(where or DeviceConfig()).device)
        found = load_clip_expert(name, Path(folder), config) if folder else make_clip_expert(name, config)
        return cast(Expert, found)
    if not folder:
        fit = _tell_fit(kind, name)
        raise UserError(f"The expert '{name}' needs a folder. Fit it: {fit}; then give expert_dir=DIR.")
    path, where = Path(folder), where or DeviceConfig()
    expert = _load_fitted(kind, model, path, trust_remote_code, where)
    frame = read_frame(path)
    return Framed(cast(Fitted, expert), frame) if frame else expert


def _tell_fit(kind: ExpertName, name: str) -> str:
    """The command that fits an expert: on photos, or where it does not learn, its gate on a dataset.

    Raises:
        UserError: If one of the user's own cannot be imported or lacks a method.
    """
    learner = kind in LEARNERS or (kind is ExpertName.own and learns(import_class(name, list(ExpertName))))
    run = " mdlm.run=RUN" if kind is ExpertName.mdlm else ""
    data = "images=PHOTOS" if learner else "dataset=NAME data_root=FOLDER"
    return f"python -m scripts.fit_expert expert={name}{run} {data} out=DIR"


def _load_fitted(kind: ExpertName, model: str, path: Path, trust_remote_code: bool, where: DeviceConfig) -> Expert:
    if kind is ExpertName.precomputed:
        return PrecomputedExpert.load(path)
    if kind is ExpertName.patchcore:
        return PatchCore.load(path, where.device)
    if kind is ExpertName.own:
        return OwnExpert.load(model, path, where.device, list(ExpertName))
    if kind is ExpertName.mdlm:
        from models.experts.mdlm import MDLMExpert  # slow to import, as are the others below

        return MDLMExpert.load(path, trust_remote_code=trust_remote_code, where=where)
    if kind is ExpertName.ddad:
        from models.experts.ddad import DDAD

        return DDAD.load(path, where.device)
    if kind is ExpertName.saa_plus:
        from models.experts.saa.expert import SAA

        return SAA.load(path, where.device)
    from models.experts.anomalib.expert import AnomalibExpert

    return AnomalibExpert.load(path, model, where.device)
