"""Which checkpoints the zero-shot experts see with: what the doctor looks for, and a table's row says is missing.

Of an expert that is at work it tells the files and their hashes, for the maps that it writes.
"""

from __future__ import annotations

from data.errors import UserError
from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.checkpoint import ENTRY, PUBLISHED, list_shapes
from models.experts.expert import Expert
from models.experts.load import ON_CLIP, ExpertName
from models.experts.saa.expert import SAA, SAAConfig
from models.weights.check import Wanting
from models.weights.diagnosis import Wanted, locate
from models.weights.published import UsedFile, tell_files
from models.weights.table import TrainedPart, checkpoints


def wanted_by_expert(name: str, clip: ClipConfig, saa: SAAConfig) -> list[Wanted]:
    """What an expert sees with; empty for one that is fitted here, or needs no model.

    Args:
        name: Which expert.
        clip: Which CLIP, of those on CLIP.
        saa: Checkpoints of SAA+.
    """
    if name in ON_CLIP:
        return wanted_by_clip(clip)
    return wanted_by_saa(saa) if name == ExpertName.saa_plus else []


def wanted_by_clip(clip: ClipConfig) -> list[Wanted]:
    """What WinCLIP, AnoCLIP and CLIP Surgery see with: a file, or the published one in the hub's cache.

    Raises:
        UserError: If no file is named for another model than the published one.
    """
    entry = checkpoints()[ENTRY]
    if not clip.checkpoint and clip.model != PUBLISHED:
        raise UserError(f"Give clip.checkpoint=FILE with the weights of {clip.model}.")
    return [
        Wanted(
            place=clip.checkpoint or str(entry.hub),
            inside="" if clip.checkpoint else str(entry.hub_file),
            part=TrainedPart.expert,
            key=entry.key,
            file=True,
            wanting=lambda: _describe(clip.model),
            users=tuple(f"expert={name}" for name in ON_CLIP),
        )
    ]


def wanted_by_saa(saa: SAAConfig) -> list[Wanted]:
    """What SAA+ sees with."""
    part, users = TrainedPart.expert, (f"expert={ExpertName.saa_plus}",)
    wanted = [
        Wanted(place=saa.dino.path, part=part, key="saa.dino.path", revision=saa.dino.revision, users=users),
        Wanted(place=saa.backbone.weights, part=part, key="saa.backbone.weights", file=True, users=users),
    ]
    if (sam := saa.sam.checkpoint) is not None:
        wanted.append(Wanted(place=sam, part=part, key="saa.sam.checkpoint", sam=saa.sam, users=users))
    return wanted


def tell_weights(expert: Expert) -> list[UsedFile]:
    """The checkpoints that a zero-shot expert sees with; empty for any other, whose weights were made here."""
    wanted: list[Wanted] = []
    clip = getattr(expert, "clip", None)
    if isinstance(clip, Clip):
        wanted = wanted_by_clip(clip.config)
    elif isinstance(expert, SAA):
        wanted = wanted_by_saa(expert.config)
    places = [place for place in map(locate, wanted) if place is not None]
    return [used for place in places for used in tell_files(place)]


def _describe(model: str) -> Wanting:
    fix = "Name the model that this file is of, or the file of this model."
    return Wanting(f"clip.model={model}", list_shapes(model), fix)
