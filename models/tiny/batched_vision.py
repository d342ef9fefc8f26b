"""MiniCPM-V 4.6 on many images of one size at once, with unchanged weights and results.

The stock vision tower walks over images and over 2 × 2 windows one at a time, which suits flash attention on a GPU; a
tiny model on a CPU spends most of its time in thousands of small calls so. Here all images of one size form one dense
batch. It is for tiny models alone: any other runs as transformers made it, with the attention kernel that was chosen.

Shape legend: B images, P patches an image (a grid of h × w), T = P / 16 visual tokens, C vision width, D text width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.minicpmv4_6 import modeling_minicpmv4_6 as stock
from transformers.models.qwen3 import modeling_qwen3 as qwen3

SHORT = 32  # rows of a product that chunks share
TINY = 10_000_000  # parameters; the smallest published MiniCPM-V has a hundred times as many


def _batched_attention(
    self: Any, hidden_states: Tensor, cu_seqlens: Tensor, max_seqlen: int | None = None, **kwargs: Any
) -> Any:
    """Replaces the vision attention: chunks of equal length are one batch of explicit (short) attention.

    Windows of four patches are far too short for a product each: several share one, and are blind to each other.
    """
    lengths = cu_seqlens[1:] - cu_seqlens[:-1]
    length = int(lengths[0])
    if not bool((lengths == length).all()):
        return _STOCK_ATTENTION(self, hidden_states, cu_seqlens=cu_seqlens, max_seqlen=max_seqlen, **kwargs)
    count = hidden_states.shape[1] // length
    together = math.gcd(count, max(1, SHORT // length))
    shape = (count // together, together * length, self.num_heads, self.head_dim)
    query, key, value = (
        project(hidden_states).view(shape).transpose(1, 2) for project in (self.q_proj, self.k_proj, self.v_proj)
    )
    scores = torch.matmul(query * self.scaling, key.transpose(2, 3))
    if together > 1:
        chunk = torch.arange(together * length, device=scores.device) // length
        scores = scores.masked_fill(chunk[:, None] != chunk, -torch.inf)
    mixed = torch.matmul(torch.softmax(scores, -1), value)
    return self.out_proj(mixed.transpose(1, 2).reshape(hidden_states.shape)), None


def _linear_patches(self: Any, pixel_values: Tensor, target_sizes: Any, **kwargs: Any) -> Tensor:
    """Replaces the patch convolution, whose stride is its kernel, by the matrix product that it is."""
    size = self.patch_size
    patches = pixel_values[0].unflatten(-1, (-1, size)).permute(2, 0, 1, 3).flatten(1)
    embedded = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
    places = stock.get_vision_nearest_position_ids(target_sizes, self.num_patches_per_side, kwargs=kwargs)
    return (embedded + self.position_embedding(places.to(embedded.device))).unsqueeze(0)


def _batched_windows(self: Any, hidden_states: Tensor, target_sizes: Any, **kwargs: Any) -> Tensor:
    """Replaces the merger inside the tower, which looks windows up by their indices, when all images have one size."""
    high, wide = self.window_kernel_size
    height, width = (int(side) for side in target_sizes[0])
    if not bool((target_sizes == target_sizes[0]).all()) or height % high or width % wide:
        return cast(Tensor, _STOCK_WINDOWS(self, hidden_states, target_sizes, **kwargs))
    grid = hidden_states.view(len(target_sizes), height // high, high, width // wide, wide, -1)
    windows = grid.transpose(2, 3).reshape(1, -1, self.embed_dim)
    bounds = torch.arange(0, windows.shape[1] + 1, high * wide, device=windows.device)
    windows = windows + self.self_attn(self.layer_norm1(windows), cu_seqlens=bounds, max_seqlen=high * wide)[0]
    patches = windows.view(-1, high * wide, self.embed_dim)
    merged = self.linear_2(self.act(self.linear_1(self.pre_norm(patches.flatten(1)))))
    return (merged + patches.mean(1)).unsqueeze(0)


def _batched_merger(self: Any, hidden_states: Tensor, target_sizes: Any) -> list[Tensor]:
    """Replaces the loop over images in the merger when all have one size."""
    if not bool((target_sizes == target_sizes[0]).all()) or self.merger_times != 1:
        return _STOCK_MERGER(self, hidden_states, target_sizes)
    count = len(target_sizes)
    height, width = (int(side) for side in target_sizes[0])
    merge_h, merge_w = self.merge_kernel_size
    windows = hidden_states.view(count, height // merge_h, merge_h, width // merge_w, merge_w, -1)
    windows = windows.transpose(2, 3).reshape(count, (height // merge_h) * (width // merge_w), -1)
    return list(self.mlp[0](windows).view(count, windows.shape[1], -1))


def _fused_norm(self: Any, hidden_states: Tensor) -> Tensor:
    """Replaces the six elementwise passes of RMSNorm by the built-in."""
    return F.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)


_STOCK_ATTENTION = stock.MiniCPMV4_6VisionAttention.forward
_STOCK_WINDOWS = stock.MiniCPMV4_6ViTWindowAttentionMerger.forward
_STOCK_MERGER = stock.MiniCPMV4_6Merger.forward
_REPLACED: tuple[tuple[type[nn.Module], Any], ...] = (
    (qwen3.Qwen3RMSNorm, _fused_norm),
    (stock.MiniCPMV4_6VisionEmbeddings, _linear_patches),
    (stock.MiniCPMV4_6VisionAttention, _batched_attention),
    (stock.MiniCPMV4_6ViTWindowAttentionMerger, _batched_windows),
    (stock.MiniCPMV4_6Merger, _batched_merger),
)


def is_tiny(model: nn.Module) -> bool:
    """Whether a model is one of those that are made for two CPU cores."""
    sizes = (getattr(value, "ds_numel", value.numel()) for value in model.parameters())  # ZeRO-3 keeps shards
    return sum(sizes) < TINY


@contextmanager
def batched_vision(model: nn.Module) -> Iterator[None]:
    """Within the block a tiny MiniCPM-V 4.6 runs its vision tower on dense batches; nothing happens for a larger model.

    Same weights, same results up to rounding; several times faster on a CPU. Images of different sizes fall back to
    the stock code. The block may be entered again inside itself.

    Args:
        model: The model, possibly wrapped in PEFT. Its classes are changed, so no other model of them should run
            within the block.
    """
    if not is_tiny(model):
        yield
        return
    before = [(kind, kind.forward) for kind, _ in _REPLACED]
    for kind, forward in _REPLACED:
        kind.forward = forward
    try:
        yield
    finally:
        for kind, forward in before:
            kind.forward = forward


def patchify(images: Tensor, *, patch_size: int) -> Tensor:
    """uint8 or float images, (B, H, W, 3) in 0..255 → normalised NaViT patches, (1, 3, patch_size, B·P·patch_size)."""
    batch, height, width, _ = images.shape
    pixels = images.permute(0, 3, 1, 2).float().div(127.5).sub_(1.0)
    rows, columns = height // patch_size, width // patch_size
    grid = pixels.view(batch, 3, rows, patch_size, columns, patch_size)
    return grid.permute(1, 3, 0, 2, 4, 5).reshape(1, 3, patch_size, batch * rows * columns * patch_size)


def encode_images(model: nn.Module, images: Tensor) -> Tensor:
    """Visual tokens of images that already have the model's resolution.

    Args:
        model: A `MiniCPMV4_6ForConditionalGeneration`, possibly wrapped in PEFT.
        images: (B, H, W, 3), 0..255.

    Returns:
        (B, T, D).
    """
    core: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    patch_size = core.config.vision_config.patch_size
    batch, height, width, _ = images.shape
    sizes = torch.tensor([[height // patch_size, width // patch_size]] * batch, dtype=torch.int32)
    with batched_vision(core):
        output = core.model.get_image_features(patchify(images, patch_size=patch_size), sizes)
    return torch.stack(list(output.pooler_output))
