"""CLIP Surgery: a path of values through the last six blocks, and features cleared of what all texts share (Li et al.).

Followed: two paths in the last six blocks (patches from the path of values, the class token from the original one),
position embeddings resized bilinearly, the image whole; texts in 85 general templates, each feature to length 1, mean,
to length 1; with several texts each is weighted by softmax(2 · cosine to the class token) over its mean, and from its
product with a patch's feature the mean over the texts is taken away.

No setting for anomalies was ever published, so this one is ours: the two texts are WinCLIP's sound and damaged states;
the map is the damaged text's similarity, without stretching each image to 0..1, which would destroy the ranking
between images; the image score is the class token's share for damaged at CLIP's own temperature.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from data.errors import UserError
from models.experts.clip.backbone import Clip
from models.experts.clip.expert import ClipExpert, damaged
from models.experts.clip.words import Texts, clip_surgery_texts
from models.experts.expert import Gate

DEPTH = 6  # blocks that carry two paths
SHARPNESS = 2.0


class ClipSurgery(ClipExpert):
    """CLIP Surgery between two texts.

    Args:
        clip: What it sees with.

    Raises:
        UserError: If it has fewer blocks than carry two paths.
    """

    name = "clip_surgery"
    manner = (
        "CLIP Surgery in a setting of ours, for none was published: WinCLIP's states in 85 templates, no stretching of "
        "each map to 0..1, zero-shot."
    )
    neutral = Gate(0.5, 0.0)  # above 0 a patch is closer to the damaged text than to the sound one

    def __init__(self, clip: Clip) -> None:
        super().__init__(clip)
        if len(clip.blocks) < DEPTH:
            raise UserError(
                f"{clip.config.model} has {len(clip.blocks)} blocks, and CLIP Surgery gives a second path to the last "
                f"{DEPTH}. Choose a CLIP with more, such as ViT-B-16-plus-240."
            )

    def texts(self, category: str) -> Texts:
        """7 × 85 and 4 × 85 texts."""
        return clip_surgery_texts(category)

    def average(self, features: Tensor) -> Tensor:
        """Mean of features of length 1, to length 1."""
        return super().average(F.normalize(features, dim=1))

    @torch.inference_mode()
    def look(self, category: str, batch: Tensor) -> tuple[Tensor, Tensor]:
        """See `ClipExpert.look`; maps have the grid of patches."""
        clip, pair = self.clip, self.pair(category)
        original, values = clip.run_two_paths(clip.tokens(batch), DEPTH)
        tokens = torch.cat([original[:, :1], values[:, 1:]], 1)
        features = F.normalize(clip.project(clip.normalise(tokens)), dim=-1)
        similar = surgery(features, pair.stacked)[..., 1]
        return similar[:, 1:].unflatten(1, clip.grid), damaged(features[:, 0], pair, clip.scale)


def surgery(features: Tensor, texts: Tensor) -> Tensor:
    """Similarity of tokens and texts without what all texts share, (B, 1 + P, D), (T, D) → (B, 1 + P, T)."""
    weights = (SHARPNESS * features[:, 0] @ texts.T).softmax(-1)
    weights = weights / weights.mean(-1, keepdim=True)
    weighted = weights[:, None] * (features @ texts.T)  # Σ over D of weight · feature · text
    return weighted - weighted.mean(-1, keepdim=True)
