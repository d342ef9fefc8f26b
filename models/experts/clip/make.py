"""Makes a zero-shot expert by its name, from settings or from the folder of an earlier `scripts.fit_expert`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.errors import UserError
from models.experts.clip.anoclip import AnoClip, AnoClipConfig
from models.experts.clip.backbone import Clip, ClipConfig
from models.experts.clip.clip_surgery import ClipSurgery
from models.experts.clip.expert import ClipExpert
from models.experts.clip.winclip import WinClip, WinClipConfig
from models.experts.store import read_config


def make_clip_expert(name: str, config: ClipConfig) -> ClipExpert:
    """A zero-shot expert that knows every product by its name.

    Args:
        name: `winclip`, `anoclip` or `clip_surgery`.
        config: Which CLIP.

    Raises:
        UserError: If open_clip or the checkpoint is missing, or the CLIP does not suit.
    """
    if config.adapt and name != AnoClip.name:
        raise UserError(f"clip.adapt=true goes with expert=anoclip, not with {name}. Leave it out.")
    clip = Clip(config)
    if name == AnoClip.name:
        return AnoClip(clip, AnoClipConfig(adapt=config.adapt))
    return WinClip(clip, WinClipConfig()) if name == WinClip.name else ClipSurgery(clip)


def load_clip_expert(name: str, folder: Path, config: ClipConfig) -> ClipExpert:
    """What `scripts.fit_expert` wrote: gates, and WinCLIP's shots, for the CLIP that they were made with.

    Args:
        name: Which one.
        folder: Where to.
        config: Another place of the checkpoint, and the device; the rest is the fit's.

    Raises:
        UserError: If the folder holds none or another, or the checkpoint is gone or has other weights.
    """
    saved, weights_hash = read_config(folder, name, ClipConfig)
    place = config.checkpoint or saved.checkpoint
    expert = make_clip_expert(name, replace(saved, checkpoint=place, device=config.device))
    if expert.clip.weights_hash != weights_hash:
        raise UserError(f"{folder} was fitted with other weights than {place or 'the hub cache'} holds. Fit it again.")
    expert.restore(folder)
    return expert
