"""What the stages of the tiny base are taught with: batches, throw-away heads, and SAM's code for places.

Shapes: B texts, L tokens, I images, N marks, S side of SAM's input, M side of its logits, C channels, E×E cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.ddqa.regions import REGIONS
from data.tiny.reading import ReadingItem
from data.tiny.referring import KINDS, region_name
from data.training.grounding import GroundingItem
from models.mdlm.llava import SEG_TOKEN, LlavaEncoder
from models.mdlm.preprocess import sam_input
from models.mdlm.processor import MDLMProcessor
from models.mdlm.sam import Sam
from train.engine.ranks import weigh

CELL_SHARE = 0.15  # of a cell that a mark must cover to count there
PLACE_SCALE = 1.0  # root mean square of a place prompt; a single cell's positional code has 0.7


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """Descriptions with their answers: ids, labels and the mask are (B, L), -100 where nothing is to be predicted.

    `places` is (B,): index of the region, `len(REGIONS)` when there is no defect.
    """

    ids: list[str]
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    places: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ReadingBatch:
        """The same batch on another device."""
        tensors = (self.input_ids, self.attention_mask, self.labels, self.places)
        return ReadingBatch(self.ids, *(tensor.to(device, non_blocking=non_blocking) for tensor in tensors))


@dataclass(frozen=True, slots=True)
class MarkBatch:
    """I images with N marks.

    `pixels` (I, 3, S, S) uint8, which the square scenes fill; `image_index`, `kinds` (index into `KINDS`) and
    `regions` are (N,); `masks` is (N, M, M).
    """

    ids: list[str]
    pixels: Tensor
    image_index: Tensor
    kinds: Tensor
    regions: Tensor
    masks: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> MarkBatch:
        """The same batch on another device."""
        tensors = (self.pixels, self.image_index, self.kinds, self.regions, self.masks)
        return MarkBatch(self.ids, *(tensor.to(device, non_blocking=non_blocking) for tensor in tensors))


class Reader(nn.Module):
    """The language model and the [SEG] projection."""

    def __init__(self, encoder: LlavaEncoder, projection: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projection = encoder, projection

    def forward(self, batch: ReadingBatch) -> tuple[Tensor, Tensor]:
        """Next-token logits (B, L, V) and prompts (B, C)."""
        llava: Any = self.encoder.llava
        states = llava.model.language_model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state
        at_seg = (batch.input_ids == self.encoder.seg_id).int().argmax(1)
        return llava.lm_head(states), self.projection(states[torch.arange(len(states)), at_seg])


class Finder(nn.Module):
    """SAM, and a linear head on its cells that is thrown away afterwards."""

    def __init__(self, sam: Sam, head: nn.Module) -> None:
        super().__init__()
        self.sam, self.head = sam, head

    def forward(self, batch: MarkBatch, prompts: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Mask logits (N, M, M) if there are prompts (N, C), and cell logits (I, kinds + 1, E, E)."""
        embeddings = self.sam.encode(batch.pixels)
        cells = self.head(embeddings.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return None if prompts is None else self.sam.decode(embeddings[batch.image_index], prompts), cells


def collate_reading(items: list[ReadingItem], processor: MDLMProcessor) -> ReadingBatch:
    """Fills the chat template without an image; what comes after [SEG] is to be predicted."""
    texts = [processor.template.format(image="", prompt=i.prompt, seg=SEG_TOKEN) + i.answer for i in items]
    encoded = processor.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    at_seg = (ids == processor.tokenizer.get_vocab()[SEG_TOKEN]).int().argmax(1)
    before = torch.arange(ids.shape[1])[None] <= at_seg[:, None]
    labels = ids.masked_fill(before | (mask == 0), -100)
    return ReadingBatch([i.id for i in items], ids, mask, labels, torch.tensor([i.place for i in items]))


def collate_marks(items: list[GroundingItem], processor: MDLMProcessor) -> MarkBatch:
    """Batches scenes by their marks; the items are those of `SceneMarks`."""
    marks = [
        (image, kind, mask) for image, i in enumerate(items) for kind, mask in zip(i.prompts, i.masks, strict=True)
    ]
    masks = [processor.mask(mask) for *_, mask in marks]
    side = processor.mask_size
    return MarkBatch(
        ids=[item.id for item in items],
        pixels=torch.stack([sam_input(item.image, processor.sam_size)[0] for item in items]),
        image_index=torch.tensor([image for image, *_ in marks], dtype=torch.long),
        kinds=torch.tensor([KINDS.index(kind) for _, kind, _ in marks], dtype=torch.long),
        regions=torch.tensor([REGIONS.index(region_name(mask)) for *_, mask in marks], dtype=torch.long),
        masks=torch.stack(masks) if masks else torch.zeros(0, side, side),
    )


def cell_loss(cells: Tensor, batch: MarkBatch) -> Tensor:
    """Binary cross-entropy per cell and kind, the last channel being "any kind"; scalar.

    Marked and unmarked cells are averaged apart, so that a small mark counts as much as the surface around it.

    Args:
        cells: (I, kinds + 1, E, E) logits.
        batch: Images and marks.
    """
    shares = functional.adaptive_avg_pool2d(batch.masks[:, None], cells.shape[-1])[:, 0]
    target = torch.zeros_like(cells)
    for image, kind, marked in zip(batch.image_index, batch.kinds, shares > CELL_SHARE, strict=True):
        target[image, kind][marked] = 1
        target[image, -1][marked] = 1
    errors = functional.binary_cross_entropy_with_logits(cells, target, reduction="none")
    marked = (errors * target).sum() / target.sum().clamp(min=1)
    unmarked = (errors * (1 - target)).sum() / (1 - target).sum().clamp(min=1)
    marked, unmarked = weigh(marked, target.sum()), weigh(unmarked, (1 - target).sum())
    return 0.3 * marked + 3 * unmarked


def place_codes(sam: Sam) -> Tensor:
    """SAM's positional code of each region, (10, C): the mean over its cells; zero for "no place"."""
    codes = sam.positions()[0]
    cells = codes.shape[-1]
    edges = [cells * k // 3 for k in range(4)]
    means = torch.stack(
        [
            codes[:, edges[row] : edges[row + 1], edges[column] : edges[column + 1]].mean((1, 2))
            for row in range(3)
            for column in range(3)
        ]
    )
    scaled = means / means.pow(2).mean().sqrt() * PLACE_SCALE
    return torch.cat([scaled, torch.zeros_like(scaled[:1])])


def point_codes(sam: Sam, masks: Tensor) -> Tensor:
    """Positional code of the cell at each mask's centroid, scaled like a place prompt: (N, M, M) → (N, C)."""
    codes = sam.positions()[0]
    cells, side = codes.shape[-1], masks.shape[-1]
    grid = (torch.arange(side, device=masks.device) + 0.5) * cells / side
    weight = masks.sum((1, 2)).clamp(min=1e-6)
    rows = ((masks.sum(2) * grid).sum(1) / weight).long().clamp(max=cells - 1)
    columns = ((masks.sum(1) * grid).sum(1) / weight).long().clamp(max=cells - 1)
    return codes[:, rows, columns].T / 0.5**0.5 * PLACE_SCALE
