"""GroundingDINO, transformers' class: boxes of what a text names.

Each text is a pass of its own, as in SAA+: phrases in one text would share their scores. The passes of one image run as
a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from data.files import read_json
from data.sample import ImageArray
from models.experts.saa.regions import Regions
from models.weights.hub import resolve_checkpoint
from models.weights.shards import list_shards


@dataclass(kw_only=True, slots=True)
class DetectorConfig:
    """Which GroundingDINO, and what counts as found.

    Attributes:
        path: Folder in transformers' format, or a hub id that lies in the hub's cache; nothing is downloaded.
        revision: Commit of a hub id; None takes what was downloaded last.
        box_threshold: A box counts if its best word fits above this.
        text_threshold: A word belongs to a box if it fits above this.
        batch_size: Texts a pass.
    """

    path: str = "IDEA-Research/grounding-dino-tiny"
    revision: str | None = None
    box_threshold: float = 0.1
    text_threshold: float = 0.1
    batch_size: int = 4


class Detector:
    """Finds boxes by text.

    Args:
        config: Which one.
        device: Where it runs.

    Raises:
        UserError: If there is no such checkpoint, or it is another model or not whole.
    """

    def __init__(self, config: DetectorConfig, device: torch.device) -> None:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor  # slow to import

        self.config, self.device = config, device
        self.folder = _find(config)
        self.processor: Any = GroundingDinoProcessor.from_pretrained(self.folder)
        load: Any = GroundingDinoForObjectDetection.from_pretrained
        model, loading = load(self.folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
        if missing := sorted(loading["missing_keys"]):
            raise UserError(
                f"{self.folder} lacks {len(missing)} tensors of GroundingDINO, {missing[0]} first. Download it again."
            )
        self.model: Any = model.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def find(self, image: ImageArray, texts: Sequence[str]) -> Regions:
        """Boxes of an image that fit the texts, in the order of the texts.

        Args:
            image: (H, W, 3) uint8 RGB.
            texts: What to look for.
        """
        pixels = self.processor.image_processor(image, return_tensors="pt").to(self.device)
        boxes, scores, phrases = [torch.zeros(0, 4)], [torch.zeros(0)], []
        for start in range(0, len(texts), self.config.batch_size):
            captions = [
                f"{text.lower().strip().rstrip('.')}." for text in texts[start : start + self.config.batch_size]
            ]
            words = self.processor.tokenizer(captions, padding=True, return_tensors="pt").to(self.device)
            count = len(captions)
            output = self.model(
                **words,
                pixel_values=pixels["pixel_values"].expand(count, -1, -1, -1),
                pixel_mask=pixels["pixel_mask"].expand(count, -1, -1),
            )
            for found in self.processor.post_process_grounded_object_detection(
                output,
                words["input_ids"],
                threshold=self.config.box_threshold,
                text_threshold=self.config.text_threshold,
            ):
                boxes.append(found["boxes"].cpu())
                scores.append(found["scores"].cpu())
                phrases += found["text_labels"]
        return Regions(torch.cat(boxes), torch.cat(scores), tuple(phrases))


def _find(config: DetectorConfig) -> Path:
    folder = resolve_checkpoint(config.path, config.revision)
    if not (folder / "config.json").is_file():
        raise UserError(f"No GroundingDINO at {folder}: it has no config.json. Set saa.dino.path to its folder.")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "grounding-dino":
        raise UserError(f"{folder} is a '{kind}', not a GroundingDINO. Set saa.dino.path to its folder.")
    list_shards(folder)
    return folder
