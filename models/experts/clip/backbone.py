"""A CLIP of open_clip whose inner tokens can be reached: windows of patches, and a second path of values.

Shapes: images (B, 3, S, S) normalised; tokens (B, 1 + P, C), the class token first, then P = h·w patches by rows;
projected features (…, D), the space of the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.errors import UserError
from data.files import hash_file
from data.sample import ImageArray
from models.device import choose
from models.experts.clip.checkpoint import check_towers, describe_vision, find_checkpoint, load_model

TEXTS_A_BATCH = 256


@dataclass(kw_only=True, slots=True)
class ClipConfig:
    """Which CLIP.

    Attributes:
        model: Its name in open_clip.
        checkpoint: File with its weights, `.safetensors` or a state dict in a `.pt`; empty looks for those of
            `ViT-B-16-plus-240` (LAION-400M, epoch 31) in the hub's cache.
        image_size: Images are resized to this many pixels square, a multiple of the model's patches; 0 takes the
            convention's size, where it names one, else the model's own. Position embeddings are resized to its grid.
        adapt: Whether AnoCLIP trains its adapter on each image first; the others have none.
        batch_size: Images a batch.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.
    """

    model: str = "ViT-B-16-plus-240"
    checkpoint: str = ""
    image_size: int = 0
    adapt: bool = False
    batch_size: int = 8
    device: str = "auto"


class Clip:
    """A frozen CLIP.

    Args:
        config: Which one.

    Attributes:
        grid: Rows and columns of patches.
        weights_hash: SHA-256 of the checkpoint.

    Raises:
        UserError: If open_clip or the checkpoint is missing, they do not fit, or the model has no patch tokens.
    """

    def __init__(self, config: ClipConfig) -> None:
        if config.batch_size < 1:
            raise UserError(f"clip.batch_size={config.batch_size} must be at least 1.")
        path = find_checkpoint(config.model, config.checkpoint)
        model, self._tokenize = load_model(config.model, path)
        self.config, self.weights_hash = config, hash_file(path)
        self.device = choose(config.device).device
        self._model = model.eval().requires_grad_(False).to(self.device)
        self._visual = check_towers(model, config.model)
        self.side = config.image_size or self._visual.image_size[0]
        patch = self._visual.patch_size[0]
        if self.side < patch or self.side % patch:
            raise UserError(f"clip.image_size={self.side} is no multiple of the patch size {patch} of {config.model}.")
        self.grid = (self.side // patch, self.side // patch)
        self._mean = torch.tensor(self._visual.image_mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(self._visual.image_std, device=self.device).view(1, 3, 1, 1)

    @property
    def blocks(self) -> nn.ModuleList:
        """Its transformer blocks."""
        blocks: nn.ModuleList = self._visual.transformer.resblocks
        return blocks

    @property
    def scale(self) -> float:
        """What CLIP itself multiplies a cosine with."""
        return float(self._model.logit_scale.exp())

    @torch.inference_mode()
    def prepare(self, images: Sequence[ImageArray]) -> Tensor:
        """Resizes to a square (bicubic, antialiased; the whole image, no crop) and normalises, (B, 3, S, S)."""
        size = (self.side, self.side)
        resized = []
        for image in images:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255
            if image.shape[:2] != size:
                pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
            resized.append(pixels)
        return (torch.cat(resized) - self._mean) / self._std

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Features of texts, (N, D), not normalised."""
        found = []
        for start in range(0, len(texts), TEXTS_A_BATCH):
            found.append(self._encode_ids(self._tokenize(list(texts[start : start + TEXTS_A_BATCH])).to(self.device)))
        return torch.cat(found)

    @torch.inference_mode()
    def tokens(self, batch: Tensor) -> Tensor:
        """Tokens before the first block: position embeddings added, first norm applied."""
        visual = self._visual
        patches = visual.conv1(batch).flatten(2).transpose(1, 2)
        first = visual.class_embedding.expand(len(batch), 1, -1)
        return visual.ln_pre(torch.cat([first, patches], 1) + self._positions())

    @torch.inference_mode()
    def run(self, tokens: Tensor) -> Tensor:
        """Tokens after the last block."""
        after: Tensor = self._visual.transformer(tokens)
        return after

    @torch.inference_mode()
    def run_classes(self, tokens: Tensor) -> Tensor:
        """The class tokens after the last block, (B, C); that block looks at the others and works out none of them."""
        block: Any
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        block = self.blocks[-1]
        seen, first = block.ln_1(tokens), tokens[:, :1]
        first = first + block.ls_1(block.attn(block.ln_1(first), seen, seen, need_weights=False)[0])
        after: Tensor = first + block.ls_2(block.mlp(block.ln_2(first)))
        return after[:, 0]

    @torch.inference_mode()
    def run_two_paths(self, tokens: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Tokens after the last block of the original path and of the value path, which the last `depth` blocks carry.

        The value path starts where they start. Each of them adds to it its attention with the values as queries, keys
        and values, taken from the original path after the block's first norm; it has no feed-forward layer.

        Raises:
            UserError: If the model has fewer blocks.
        """
        if not 1 <= depth <= len(self.blocks):
            raise UserError(f"{self.config.model} has {len(self.blocks)} blocks, not {depth}. Choose another depth.")
        original = tokens
        block: Any
        for block in self.blocks[:-depth]:
            original = block(original)
        values = original
        for block in self.blocks[-depth:]:
            values = values + block.ls_1(attend_to_values(block.attn, block.ln_1(original)))
            original = block(original)
        return original, values

    @torch.inference_mode()
    def normalise(self, tokens: Tensor) -> Tensor:
        """The norm after the last block."""
        normed: Tensor = self._visual.ln_post(tokens)
        return normed

    @torch.inference_mode()
    def project(self, tokens: Tensor) -> Tensor:
        """Normed tokens in the space of the texts, (…, D), not normalised to length 1."""
        projected: Tensor = tokens @ self._visual.proj
        return projected

    def _encode_ids(self, ids: Tensor) -> Tensor:
        """Features of tokenised texts, (N, 77) → (N, D); a token never sees a later one, so padding is cut off."""
        model, last = self._model, ids.argmax(1)  # the end of a text has the highest id
        length = int(last.max()) + 1
        inside = model.token_embedding(ids[:, :length]) + model.positional_embedding[:length]
        after = model.ln_final(model.transformer(inside, attn_mask=model.attn_mask[:length, :length]))
        features: Tensor = after[torch.arange(len(ids), device=ids.device), last] @ model.text_projection
        return features

    def _positions(self) -> Tensor:
        """Position embeddings (1 + P, C), resized bilinearly where the grid is not the model's own."""
        positions: Tensor = self._visual.positional_embedding
        if self.grid == tuple(self._visual.grid_size):
            return positions
        rows, columns = self._visual.grid_size
        grid = positions[1:].view(1, rows, columns, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(grid, self.grid, mode="bilinear", align_corners=False)
        return torch.cat([positions[:1], resized.flatten(2)[0].T])


def at_size(config: ClipConfig, side: int | None) -> ClipConfig:
    """A CLIP that sees images at `side` pixels, or the next smaller size that its patches fill.

    Args:
        config: Which CLIP; an `image_size` that it has stays.
        side: What a convention names; None leaves the model's own size.

    Raises:
        UserError: If the model is unknown, or a patch is wider.
    """
    if side is None or config.image_size:
        return config
    patch = describe_vision(config.model).get("patch_size") or side  # without patches it is refused when it loads
    if side < patch:
        raise UserError(f"{config.model} has patches of {patch} pixels, more than {side}. Set clip.image_size.")
    return replace(config, image_size=side // patch * patch)


def attend_to_values(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """Self-attention whose queries and keys are the values, (B, N, C) → (B, N, C)."""
    width = attention.embed_dim
    values = F.linear(tokens, attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    heads = values.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(heads, heads, heads)
    return F.linear(mixed.transpose(1, 2).flatten(2), attention.out_proj.weight, attention.out_proj.bias)
