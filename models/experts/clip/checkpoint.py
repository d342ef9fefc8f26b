"""The weights of a CLIP of open_clip: where they are, whether they fit, and where to get them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn

from data.errors import UserError
from models.weights.table import checkpoints
from models.weights.tensors import read_tensors

PUBLISHED = "ViT-B-16-plus-240"
ENTRY = "clip-vit-b-16-plus-240"  # its weights, in the table of checkpoints
HUB_FILE = "open_clip_model.safetensors"  # what open_clip's repositories call them
NAMED = 3  # tags that a message names


def find_checkpoint(model: str, checkpoint: str) -> Path:
    """The file of a model's weights.

    Args:
        model: Its name in open_clip.
        checkpoint: What the user gave; empty looks for those of `PUBLISHED` in the hub's cache.

    Raises:
        UserError: If there is no file, saying which one, how large it is, and where to get it.
    """
    if not checkpoint and model == PUBLISHED:
        cached = try_to_load_from_cache(str(checkpoints()[ENTRY].hub), HUB_FILE)
        if isinstance(cached, str):
            return Path(cached)
    path = Path(checkpoint)
    if not checkpoint or not path.is_file():
        where = f"No file at {path}." if checkpoint else "This expert needs the weights of a CLIP."
        raise UserError(f"{where} Give clip.checkpoint=FILE with the weights of {model}{_offers(model)}")
    return path


def describe_vision(model: str) -> dict[str, Any]:
    """What open_clip's description of a model says of its vision tower.

    Raises:
        UserError: If open_clip is missing or has no such model.
    """
    open_clip = _open_clip()
    if model not in open_clip.list_models():
        raise UserError(f"open_clip has no model '{model}'. Choose one of open_clip.list_models().")
    facts: dict[str, Any] = open_clip.get_model_config(model)["vision_cfg"]
    return facts


def list_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a model's weights, by name; none is made.

    Raises:
        UserError: If open_clip is missing or has no such model.
    """
    describe_vision(model)
    with torch.device("meta"):
        empty = _open_clip().create_model(model, load_weights=False, pretrained_text=False, device="meta")
    return {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}


def load_model(model: str, path: Path) -> tuple[Any, Any]:
    """A model of open_clip with the weights of a file, and its tokenizer.

    Raises:
        UserError: If open_clip is missing or has no such model, or the file is damaged or another model's.
    """
    describe_vision(model)
    open_clip = _open_clip()
    made = open_clip.create_model(model, load_weights=False, pretrained_text=False)
    state = read_tensors(path)
    try:
        made.load_state_dict(state)
    except RuntimeError as error:
        reason = _other_patches(made.state_dict(), state) or str(error).splitlines()[-1].strip()
        raise UserError(f"{path} does not fit clip.model={model}: {reason}") from error
    return made, open_clip.get_tokenizer(model)


def check_towers(made: Any, model: str) -> Any:
    """The vision tower, if it is a plain transformer with a class token, and the text tower is CLIP's own.

    Raises:
        UserError: If one is another kind of network.
    """
    visual = made.visual
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", [])
    plain = blocks and all(isinstance(getattr(block, "attn", None), nn.MultiheadAttention) for block in blocks)
    if not plain or visual.attn_pool is not None or visual.pool_type != "tok":
        raise UserError(
            f"{model} has no class token beside plain patch tokens, which this expert needs. "
            "Choose a ViT, such as ViT-B-16-plus-240."
        )
    if getattr(made, "text_pool_type", "") != "argmax" or not isinstance(made.text_projection, Tensor):
        raise UserError(f"{model} has another text tower than CLIP's. Choose one such as ViT-B-16-plus-240.")
    return visual


def _open_clip() -> Any:
    try:
        import open_clip  # slow to import
    except ImportError as error:
        raise UserError(
            "open_clip is not installed: python -m pip install open-clip-torch -c constraints.txt"
        ) from error
    return open_clip


def _offers(model: str) -> str:
    """How large a model's weights are, and where they can be had."""
    size, open_clip = 4 * sum(map(math.prod, list_shapes(model).values())) / 1e9, _open_clip()
    if model == PUBLISHED:
        return f" (open_clip's tag laion400m_e31), about {size:.1f} GB: {checkpoints()[ENTRY].download}"
    tags = open_clip.list_pretrained_tags_by_model(model)
    hubs = {tag: str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub", "")).strip("/") for tag in tags}
    offers = [f"hf download {hub} {HUB_FILE} ({tag})" for tag, hub in hubs.items() if hub]
    more = f", and {len(offers) - NAMED} more" if len(offers) > NAMED else ""
    return f", about {size:.1g} GB" + (f": {', or '.join(offers[:NAMED])}{more}." if offers else ".")


def _other_patches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What is said where a file is of a CLIP with another grid of patches; empty where both have the same, or none."""
    there, wanted = _tell_patches(state), _tell_patches(own)
    if not there or not wanted or there == wanted:
        return ""
    return f"it was made for {there}, this model for {wanted}. Give clip.model= the name of the file's own model."


def _tell_patches(state: Mapping[str, Tensor]) -> str:
    positions, first = state.get("visual.positional_embedding"), state.get("visual.conv1.weight")
    if positions is None or first is None or positions.dim() != 2 or first.dim() != 4:
        return ""
    side = math.isqrt(len(positions) - 1)
    return f"{side} × {side} patches of {first.shape[-1]} pixels"
