"""LLaVA-NeXT's own tiling ("anyres"): an overview and up to four tiles of the image at a higher resolution.

Shapes: T tiles with the overview, V side of the vision tower's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor, PreTrainedTokenizerBase
from transformers.models.llava_next.image_processing_llava_next import LlavaNextImageProcessor

from data.sample import ImageArray
from models.mdlm.llava import IMAGE_TOKEN


class AnyresTiler:
    """Cuts images as LLaVA-NeXT does and counts their tokens."""

    def __init__(self, llava: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        vision: Any = llava.config.vision_config
        side = vision.image_size
        self._images = LlavaNextImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_grid_pinpoints=llava.config.image_grid_pinpoints,
        )
        self._counter = LlavaNextProcessor(
            image_processor=self._images,
            tokenizer=tokenizer,
            patch_size=vision.patch_size,
            vision_feature_select_strategy=llava.config.vision_feature_select_strategy,
            image_token=IMAGE_TOKEN,
            num_additional_image_tokens=1,
        )

    def cut(self, images: Sequence[ImageArray]) -> tuple[Tensor, Tensor]:
        """Tiles (I, T, 3, V, V), zero where an image has fewer than T, and native sizes (I, 2) as (height, width)."""
        cut = self._images([torch.from_numpy(image).permute(2, 0, 1) for image in images], return_tensors="pt")
        return cut["pixel_values"], cut["image_sizes"]

    def count(self, image: ImageArray) -> int:
        """Tokens of one image."""
        sizes = [list(image.shape[:2])]
        return int(self._counter._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"][0])
