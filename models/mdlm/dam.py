"""DAM, the Defect Analysis Module (EIAD, Sec. III-B): aligns the long description with the visual features.

Shapes: N prompts, L text tokens, D language width, C visual channels, E×E cells.

The paper gives its purpose, not its layers. Here every visual cell attends to the description's tokens (multi-head
cross-attention), and what it reads is added back through a gate that starts at zero: at step 0 the pre-trained
mask decoder sees exactly the features it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(kw_only=True, slots=True)
class DamConfig:
    """Attributes.

    Attributes:
        enabled: False leaves the visual features as they are (ablation).
        heads: Attention heads; must divide the visual channels.
    """

    enabled: bool = True
    heads: int = 8


class DefectAnalysisModule(nn.Module):
    """Gated cross-attention from visual cells to description tokens."""

    def __init__(self, *, text_width: int, channels: int, heads: int) -> None:
        super().__init__()
        self.text_norm = nn.LayerNorm(text_width)
        self.visual_norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(
            channels, heads, kdim=text_width, vdim=text_width, batch_first=True, bias=True
        )
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(self, visual: Tensor, positions: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """Adds what each cell reads from the text.

        Args:
            visual: Image embeddings z, (N, C, E, E).
            positions: Positional encoding of the cells, (1, C, E, E): descriptions name places.
            text: Last-layer states of the language model, (N, L, D).
            text_mask: (N, L) bool, True on the description's tokens; at least one in each row.

        Returns:
            (N, C, E, E).
        """
        cells = visual.flatten(2).transpose(1, 2)
        places = positions.flatten(2).transpose(1, 2)
        text = self.text_norm(text)
        read, _ = self.attention(
            self.visual_norm(cells) + places, text, text, key_padding_mask=~text_mask, need_weights=False
        )
        return visual + (self.gate * read).transpose(1, 2).reshape_as(visual)
