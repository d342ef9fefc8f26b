"""Segment Anything: `segment_anything`'s own modules (this is its only importer) and weights, driven by embeddings.

One thing is replaced: the encoder's attention runs through PyTorch's fused kernels (`SamConfig.attention`), with the
same result. Small encoders may also get a convolutional stem.

Shapes: I images, N prompts (each belongs to one image), S input size, E = S / patch size, C channels.
    pixels (I, 3, S, S) → encode → embeddings (I, C, E, E) → decode with prompts (N, C) → logits (N, 4E, 4E)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from data.errors import UserError
from models.mdlm.preprocess import normalise_for_sam
from models.mdlm.sam_attention import FusedAttention
from models.mdlm.sam_checkpoint import describe_encoder, read_sam_weights


class SamAttention(StrEnum):
    """How the encoder attends: the stock layers as they are, or the same through PyTorch's fused kernels."""

    eager = "eager"
    sdpa = "sdpa"


@dataclass(kw_only=True, slots=True)
class SamConfig:
    """Architecture and weights; the defaults are ViT-H.

    Attributes:
        checkpoint: Meta's `.pth`; or a `.safetensors` file, a directory or a hub id with Meta's or transformers' names
            (`facebook/sam-vit-huge`); None starts from random weights.
        image_size: Side of the square input, in pixels. The longer side of an image is resized to it, the rest padded.
        patch_size: Pixels per embedding cell.
        width: Encoder width.
        depth: Encoder layers.
        heads: Encoder attention heads.
        global_layers: Layers with global attention; the others attend within windows.
        window: Window side, in cells.
        relative_positions: Decomposed relative position biases in the encoder.
        stem: Widths of the 3×3 stride-2 convolutions that replace the single patch convolution; empty keeps it.
            Small encoders that are trained from scratch on a few thousand images need it.
        channels: Channels of the image embeddings and the decoder.
        decoder_heads: Attention heads of the decoder.
        decoder_mlp: Hidden width of the decoder's feed-forward layers.
        attention: How the encoder attends.
    """

    checkpoint: str | None = None
    image_size: int = 1024
    patch_size: int = 16
    width: int = 1280
    depth: int = 32
    heads: int = 16
    global_layers: list[int] = field(default_factory=lambda: [7, 15, 23, 31])
    window: int = 14
    relative_positions: bool = True
    stem: list[int] = field(default_factory=list)
    channels: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    attention: SamAttention = SamAttention.sdpa


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder, driven by embeddings instead of clicks.

    Attributes:
        image_size: Side of the square input, in pixels.
        channels: Channels of the embeddings and of a prompt.
        mask_size: Side of the decoder's logits.
        recompute: Recomputes the encoder's layers in the backward pass instead of keeping their activations; only of
            use when the encoder learns.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        cells = config.image_size // config.patch_size
        self.image_size = config.image_size
        self.channels = config.channels
        self.mask_size = 4 * cells
        self.recompute = False
        self.image_encoder = ImageEncoderViT(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            out_chans=config.channels,
            use_rel_pos=config.relative_positions,
            window_size=config.window,
            global_attn_indexes=tuple(config.global_layers),
        )
        if config.stem:
            self.image_encoder.patch_embed.proj = _build_stem(config)
        if config.attention is SamAttention.sdpa:
            blocks: Any = self.image_encoder.blocks
            for block in blocks:
                block.attn = FusedAttention(block.attn)
        self.prompt_encoder = PromptEncoder(
            embed_dim=config.channels,
            image_embedding_size=(cells, cells),
            input_image_size=(config.image_size, config.image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=config.channels,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=config.channels, mlp_dim=config.decoder_mlp, num_heads=config.decoder_heads
            ),
        )

    def encode(self, pixels: Tensor, filled: Tensor | None = None) -> Tensor:
        """Embeds images.

        Args:
            pixels: (I, 3, S, S) uint8, see `models.mdlm.preprocess.sam_input`.
            filled: (I, 2), height and width that each image fills of its square; None where all fill it.

        Returns:
            (I, C, E, E).
        """
        pixels = normalise_for_sam(pixels, filled)
        if not (self.recompute and torch.is_grad_enabled()):
            return self.image_encoder(pixels)
        encoder: Any = self.image_encoder
        cells = encoder.patch_embed(pixels)
        if encoder.pos_embed is not None:
            cells = cells + encoder.pos_embed
        for block in encoder.blocks:
            cells = checkpoint(block, cells, use_reentrant=False)
        return encoder.neck(cells.permute(0, 3, 1, 2))

    def positions(self) -> Tensor:
        """Positional encoding of the cells, (1, C, E, E)."""
        return self.prompt_encoder.get_dense_pe()

    def decode(self, embeddings: Tensor, prompts: Tensor) -> Tensor:
        """Decodes one mask per prompt.

        The stock decoder repeats ONE image embedding for all its prompts. Passing the embeddings as dense prompts, on
        top of a zero image, gives the same sum for every prompt its own image, in one batch.

        Args:
            embeddings: (N, C, E, E), already gathered so that row n is the image of prompt n.
            prompts: (N, C), one sparse prompt each.

        Returns:
            Logits (N, 4E, 4E), before the sigmoid.
        """
        no_mask = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        logits, _ = self.mask_decoder(
            image_embeddings=torch.zeros_like(embeddings[:1]),
            image_pe=self.positions().to(embeddings.dtype),
            sparse_prompt_embeddings=prompts[:, None],
            dense_prompt_embeddings=embeddings + no_mask,
            multimask_output=False,
        )
        return logits[:, 0]

    def prompt_attentions(self) -> list[Any]:
        """The decoder's attention layers between prompts and cells, in both directions."""
        transformer: Any = self.mask_decoder.transformer
        between = [
            attention
            for layer in transformer.layers
            for attention in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)
        ]
        return [*between, transformer.final_attn_token_to_image]

    def train_decoder(self) -> None:
        """Makes trainable what the loss of the first mask reaches in the mask decoder.

        It does not reach the quality head and the heads of the three other masks. They stay frozen, because DDP stops
        at the second step when a trainable parameter had no gradient in the first.
        """
        self.mask_decoder.requires_grad_(True)
        self.mask_decoder.iou_prediction_head.requires_grad_(False)
        self.mask_decoder.output_hypernetworks_mlps[1:].requires_grad_(False)


def build_sam(config: SamConfig) -> Sam:
    """Builds SAM and loads its checkpoint.

    Raises:
        UserError: If the checkpoint is missing or belongs to another architecture.
    """
    sam = Sam(config)
    if config.checkpoint is None:
        return sam
    path, weights = read_sam_weights(config.checkpoint)
    own = sam.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) or sorted(k for k in own if own[k].shape != weights[k].shape)
    if wrong:
        raise UserError(
            f"{path} does not fit the configured SAM: it holds {describe_encoder(weights)}, the configuration asks for "
            f"{describe_encoder(own)}; {wrong[0]} is the first that differs. Set mdlm.sam to the checkpoint's sizes."
        )
    sam.load_state_dict(weights)
    return sam


def _build_stem(config: SamConfig) -> nn.Module:
    layers: list[nn.Module] = []
    previous = 3
    for width in config.stem:
        layers += [nn.Conv2d(previous, width, 3, stride=2, padding=1), nn.GroupNorm(min(8, width), width), nn.GELU()]
        previous = width
    if 2 ** len(config.stem) != config.patch_size:
        raise UserError(f"A stem of {len(config.stem)} stride-2 layers needs sam.patch_size={2 ** len(config.stem)}.")
    return nn.Sequential(*layers, nn.Conv2d(previous, config.width, 1))
