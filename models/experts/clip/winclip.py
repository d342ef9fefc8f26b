"""WinCLIP: windows of patches, each judged by CLIP as an image of its own (Jeong et al., CVPR 2023).

Followed: 154 and 88 texts, of a state the mean of raw features, to length 1; cosines divided by 0.07; windows of 2 × 2
and 3 × 3 patches, stride 1, of which only the class token and the window's own tokens pass the transformer; harmonic
means over the windows that cover a patch and over {image, 2 × 2, 3 × 3}; image score: of the whole image. With shots:
half the distance to the nearest normal patch or window, mean over the three scales; the map is the mean of both maps,
the image score that of the text's score and the largest distance.

Chosen where the paper leaves it open: images become squares whole (no crop); a patch's feature is its token after the
last block's norm, not projected; a window's is projected; the distances of windows are spread over patches by the same
harmonic mean as the text's scores, none below 1e-6.

Shapes: grid (h, w), P = h·w patches; windows of one size (W,), W = (h − k + 1)(w − k + 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from data.errors import UserError
from data.sample import ImageArray
from models.experts.clip.backbone import Clip
from models.experts.clip.expert import ClipExpert, damaged
from models.experts.clip.words import Texts, winclip_texts
from models.experts.store import category_folder, read_tensors, write_tensors

MEMORY = "shots.safetensors"
LEAST = 1e-6  # a distance of 0 has no harmonic mean


@dataclass(kw_only=True, slots=True)
class WinClipConfig:
    """How WinCLIP looks.

    Attributes:
        windows: Sides of the windows, in patches.
        temperature: What a cosine is divided by.
    """

    windows: list[int] = field(default_factory=lambda: [2, 3])
    temperature: float = 0.07


class WinClip(ClipExpert):
    """WinCLIP, zero-shot until `remember` gives it normal images.

    Args:
        clip: What it sees with.
        config: Windows and temperature.

    Raises:
        UserError: If a window is larger than the grid of patches.
    """

    name = "winclip"
    manner = "WinCLIP: 154 and 88 texts of its paper, windows of 2 × 2 and 3 × 3 patches."

    def __init__(self, clip: Clip, config: WinClipConfig) -> None:
        super().__init__(clip)
        if not config.windows or not all(1 < side <= min(clip.grid) for side in config.windows):
            raise UserError(f"winclip.windows={config.windows} must be from 2 to {min(clip.grid)} patches.")
        self.config = config
        self.memories: dict[str, dict[str, Tensor]] = {}  # category → scale → features (N, C), length 1
        self._places = {side: window_patches(clip.grid, side).to(clip.device) for side in config.windows}

    def texts(self, category: str) -> Texts:
        """154 and 88 texts."""
        return winclip_texts(category)

    def check(self, categories: Sequence[str]) -> None:
        """Refuses categories without shots where others have some; see `Expert.check`."""
        if self.memories and (missing := sorted(set(categories) - self.memories.keys())):
            raise UserError(
                f"This WinCLIP remembers shots of {', '.join(self.memories)} and none of {', '.join(missing)}. Fit it "
                "for them, too: python -m scripts.fit_expert expert=winclip shots=K."
            )

    @property
    def shots(self) -> int:
        """Normal images of a category that it remembers, at most."""
        most = max((len(memory["patch"]) for memory in self.memories.values()), default=0)
        return most // (self.clip.grid[0] * self.clip.grid[1])

    @property
    def setting(self) -> str:
        """See `ClipExpert.setting`."""
        return f"{super().setting} " + (f"With {self.shots} shots of each category." if self.shots else "Zero-shot.")

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """See `ClipExpert.save`."""
        for category, memory in self.memories.items():
            write_tensors(folder, category, MEMORY, memory)
        super().save(folder, fitted)

    def restore(self, folder: Path) -> None:
        """See `ClipExpert.restore`."""
        super().restore(folder)
        for category in self.gates:
            if (category_folder(folder, category) / MEMORY).is_file():
                found = read_tensors(folder, category, MEMORY, "memory of shots")
                self.memories[category] = {scale: known.to(self.clip.device) for scale, known in found.items()}

    def remember(self, category: str, images: Sequence[ImageArray]) -> None:
        """Keeps the features of a few normal images: from now on the category is judged with shots.

        Raises:
            UserError: If there is no image.
        """
        if not images:
            raise UserError(f"No normal images of '{category}' to remember. Check the data and shots.")
        size = self.clip.config.batch_size
        seen = [self._features(self.clip.prepare(images[at : at + size])) for at in range(0, len(images), size)]
        self.memories[category] = {
            scale: F.normalize(torch.cat([features[scale].flatten(0, 1) for features in seen]), dim=1)
            for scale in seen[0]
            if scale != "image"
        }

    @torch.inference_mode()
    def look(self, category: str, batch: Tensor) -> tuple[Tensor, Tensor]:
        """See `ClipExpert.look`; maps have the grid of patches."""
        features, pair = self._features(batch), self.pair(category)
        whole = damaged(features["image"], pair, 1 / self.config.temperature)
        scales = [whole[:, None].expand(-1, self.clip.grid[0] * self.clip.grid[1])]
        for side, places in self._places.items():
            judged = damaged(features[str(side)], pair, 1 / self.config.temperature)
            scales.append(spread(judged, places, self.clip.grid))
        maps = harmonic_mean(torch.stack(scales), 0)
        scores = whole
        if category in self.memories:
            far = self._distances(features, self.memories[category])
            maps, scores = (maps + far) / 2, (whole + far.amax(1)) / 2
        return maps.unflatten(1, self.clip.grid), scores

    def _features(self, batch: Tensor) -> dict[str, Tensor]:
        """Image (B, D), patches (B, P, C) and the windows of each size (B, W, D); all windows in one pass a size."""
        clip = self.clip
        tokens = clip.tokens(batch)
        after = clip.normalise(clip.run(tokens))
        found = {"image": clip.project(after[:, 0]), "patch": after[:, 1:]}
        for side, places in self._places.items():
            first = tokens[:, None, :1].expand(-1, len(places), -1, -1)
            windows = torch.cat([first, tokens[:, 1:][:, places]], 2)  # (B, W, 1 + k², C)
            seen = clip.project(clip.normalise(clip.run_classes(windows.flatten(0, 1))))
            found[str(side)] = seen.unflatten(0, (len(batch), len(places)))
        return found

    def _distances(self, features: dict[str, Tensor], memory: dict[str, Tensor]) -> Tensor:
        """Half the smallest 1 − cosine to what is remembered, mean over the scales, (B, P)."""
        scales = []
        for scale, known in memory.items():
            nearest = (F.normalize(features[scale], dim=-1) @ known.T).amax(-1)
            distance = ((1 - nearest) / 2).clamp_min(LEAST)
            patches = scale == "patch"
            scales.append(distance if patches else spread(distance, self._places[int(scale)], self.clip.grid))
        return torch.stack(scales).mean(0)


def window_patches(grid: tuple[int, int], side: int) -> Tensor:
    """Which patches each window holds, (W, side²): windows by rows, stride 1; patches counted by rows."""
    patches = torch.arange(grid[0] * grid[1]).view(grid)
    return patches.unfold(0, side, 1).unfold(1, side, 1).flatten(2).flatten(0, 1)


def spread(values: Tensor, places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Windows' values to patches: the harmonic mean over the windows that cover a patch, (B, W) → (B, P)."""
    count = grid[0] * grid[1]
    index, inverse = places.flatten(), (1 / values).repeat_interleave(places.shape[1], 1)
    sums = values.new_zeros(len(values), count).index_add_(1, index, inverse)
    return torch.bincount(index, minlength=count) / sums


def harmonic_mean(values: Tensor, dim: int) -> Tensor:
    """Harmonic mean of positive values."""
    return values.shape[dim] / (1 / values).sum(dim)
