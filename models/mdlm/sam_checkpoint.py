"""SAM weights from a file, a directory or the hub, under Meta's names.

Meta's `sam_vit_*.pth` is a pickle, read by `models.weights.tensors`. Everything else must be safetensors: under Meta's
names, or as transformers' `SamModel` writes it (`facebook/sam-vit-huge`, `-large`, `-base`), which are translated.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor

from data.errors import UserError
from models.weights.shards import WEIGHTS, list_shards
from models.weights.tensors import read_tensors

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
FILE_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")

# transformers' name → Meta's; the first prefix that fits is replaced, then every later part
PREFIXES = {
    "vision_encoder.neck.conv1": "image_encoder.neck.0",
    "vision_encoder.neck.layer_norm1": "image_encoder.neck.1",
    "vision_encoder.neck.conv2": "image_encoder.neck.2",
    "vision_encoder.neck.layer_norm2": "image_encoder.neck.3",
    "vision_encoder.patch_embed.projection": "image_encoder.patch_embed.proj",
    "vision_encoder.layers": "image_encoder.blocks",
    "vision_encoder": "image_encoder",
    "shared_image_embedding.positional_embedding": "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "prompt_encoder.mask_embed.conv1": "prompt_encoder.mask_downscaling.0",
    "prompt_encoder.mask_embed.layer_norm1": "prompt_encoder.mask_downscaling.1",
    "prompt_encoder.mask_embed.conv2": "prompt_encoder.mask_downscaling.3",
    "prompt_encoder.mask_embed.layer_norm2": "prompt_encoder.mask_downscaling.4",
    "prompt_encoder.mask_embed.conv3": "prompt_encoder.mask_downscaling.6",
    "prompt_encoder.point_embed": "prompt_encoder.point_embeddings",
    "mask_decoder.upscale_conv1": "mask_decoder.output_upscaling.0",
    "mask_decoder.upscale_layer_norm": "mask_decoder.output_upscaling.1",
    "mask_decoder.upscale_conv2": "mask_decoder.output_upscaling.3",
    "mask_decoder.transformer.layer_norm_final_attn": "mask_decoder.transformer.norm_final_attn",
}
# the encoder's and the decoder's numbered norms, and the hidden layers of the decoder's small networks
PARTS = ((r"\.layer_norm(\d)\.", r".norm\1."),)
MLP_PARTS = ((r"\.layers\.0\.", ".layers.1."), (r"\.proj_in\.", ".layers.0."), (r"\.proj_out\.", ".layers.2."))
SHARED = "prompt_encoder.shared_embedding.positional_embedding"  # a second copy of the positional matrix


def read_sam_weights(checkpoint: str) -> tuple[Path, dict[str, Tensor]]:
    """Reads a checkpoint: the path it was found at, and its tensors under Meta's names.

    Args:
        checkpoint: A file, a directory with `model.safetensors` (or its shards and their index), or a hub id.

    Raises:
        UserError: If it is missing, incomplete, damaged, or a pickle where safetensors is expected.
    """
    path = Path(checkpoint)
    if not path.exists() and HUB_ID.fullmatch(checkpoint) and path.suffix not in FILE_SUFFIXES:
        path = _download(checkpoint)
    if path.is_dir():
        weights: dict[str, Tensor] = {}
        for shard in list_shards(path):
            weights |= _read(shard)
    elif path.is_file():
        weights = _read(path)
    else:
        raise UserError(f"No SAM checkpoint at {path}. Download it, or set mdlm.sam.checkpoint.")
    return path, to_meta_names(weights)


def to_meta_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translates transformers' names; a dictionary under Meta's names comes back as it is."""
    if not any(name.startswith("vision_encoder.") for name in weights):
        return weights
    return {_translate(name): tensor for name, tensor in weights.items() if name != SHARED}


def describe_encoder(weights: dict[str, Tensor]) -> str:
    """The encoder that a checkpoint holds, for messages: ViT-B, ViT-L, ViT-H, or its width and depth."""
    place = weights.get("image_encoder.pos_embed")
    if place is None:
        return "no SAM"
    depth = len({name.split(".")[2] for name in weights if name.startswith("image_encoder.blocks.")})
    known = {(768, 12): "ViT-B (sam=vit_b)", (1024, 24): "ViT-L (sam=vit_l)", (1280, 32): "ViT-H (sam=vit_h)"}
    return known.get((place.shape[-1], depth), f"an encoder of width {place.shape[-1]} and depth {depth}")


def _translate(name: str) -> str:
    for old, new in PREFIXES.items():
        if name.startswith(old):
            name = new + name[len(old) :]
            break
    for pattern, replacement in PARTS:
        name = re.sub(pattern, replacement, name)
    if "hypernetworks_mlps" in name or "iou_prediction_head" in name:
        for pattern, replacement in MLP_PARTS:
            name = re.sub(pattern, replacement, name)
    return name


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise UserError(f"{path} is neither Meta's .pth nor safetensors. Set mdlm.sam.checkpoint to one of these two.")
    return read_tensors(path)


def _download(name: str) -> Path:
    try:
        return Path(hf_hub_download(name, WEIGHTS))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"No SAM checkpoint '{name}' on the hub: {reason} Set mdlm.sam.checkpoint.") from error
