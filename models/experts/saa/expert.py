"""SAA+: Segment Any Anomaly with hybrid prompts (Cao et al., 2023), a zero-shot expert that is told about its classes.

GroundingDINO finds boxes of the object and of phrases for its defects; boxes that are too large or name the object are
left out; SAM turns the others into masks; each score is raised by how unlike the rest its mask looks; the best are laid
over one another. What it is told about a class was chosen for the classes of the test: its results are not blind.

Where this differs from the authors' public code:
    - SAM and the backbone see RGB; theirs see BGR.
    - The phrases of each class are our words (`words.yaml`), and the name of the object is written with spaces: theirs
      keeps the underscore, so that the tokenizer takes the name apart and boxes of the object are never left out.
    - An image in which fewer than two of several instances are found gets no saliency; theirs stops there.
    - Boxes, scores and saliency come from transformers' GroundingDINO and processor; the texts of an image are a batch.

The map has the image's size. The authors evaluate at 400 pixels square; the image's score is the maximum of the map
there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from data.errors import UserError
from data.files import hash_value
from data.sample import ImageArray, Sample
from models.device import choose
from models.experts.backbone import Backbone, BackboneConfig
from models.experts.expert import Detection, Gate, MapArray, detect_by_category
from models.experts.saa.detector import Detector, DetectorConfig
from models.experts.saa.properties import PROPERTIES, WORDS, ClassProperties, find_properties
from models.experts.saa.regions import BestRegions, Regions, keep_defects, keep_objects, rescore
from models.experts.saa.saliency import extract_features, instance_saliency, single_saliency
from models.experts.saa.segmenter import Segmenter
from models.experts.store import read_config, read_gates, write_expert, write_gates
from models.mdlm.sam import Sam, SamConfig, build_sam
from models.weights.checkpoint import hash_weights
from models.weights.hub import resolve_checkpoint

EVALUATED = 400  # side of the square at which the authors evaluate
FOUND = Gate(1e-6, 1e-6)  # without a fitted gate: whatever is left of the boxes counts
SETTING = (
    "zero-shot but not blind: numbers per class that its authors chose for the test's classes, phrases per class in "
    "our words; RGB; score: the map's maximum at 400 px"
)


@dataclass(kw_only=True, slots=True)
class SAAConfig:
    """An SAA+.

    Attributes:
        dino: The detector.
        sam: The segmenter.
        backbone: Features of the saliency; its image size is that of images with one object.
        several_size: Side of images with several objects, in pixels.
        classes: What is told about classes, beside or instead of the shipped properties.
        default: What is told about all classes that have no properties; None refuses them.
        device: `auto`, `cpu`, `cuda` …, see `models.device`.
    """

    dino: DetectorConfig = field(default_factory=DetectorConfig)
    sam: SamConfig = field(default_factory=lambda: SamConfig(checkpoint="checkpoints/sam_vit_h_4b8939.pth"))
    backbone: BackboneConfig = field(
        default_factory=lambda: BackboneConfig(
            name="wide_resnet50_2", weights="checkpoints/wide_resnet50_racm-8234f177.pth", layers=[1, 2, 3], pool=1
        )
    )
    several_size: int = 1024
    classes: dict[str, ClassProperties] = field(default_factory=dict)
    default: ClassProperties | None = None
    device: str = "auto"


class SAA:
    """An SAA+, which needs no fit; see `models.experts.expert.Expert`.

    Args:
        config: Checkpoints and what is told.

    Raises:
        UserError: If a checkpoint is missing or another.
    """

    name = "saa_plus"
    sees_truth = False
    setting = SETTING

    def __init__(self, config: SAAConfig) -> None:
        self.config = config
        self.device = choose(config.device).device
        self.gates: dict[str, Gate] = defaultdict(lambda: FOUND)
        self.backbone = Backbone(config.backbone, self.device)
        self.segmenter = Segmenter(_build_sam(config.sam), self.device)
        self.detector = Detector(config.dino, self.device)

    @property
    def weights_hash(self) -> str:
        """SHA-256 over the weights of detector, segmenter and backbone."""
        segmenter = self.config.sam.checkpoint
        return hash_value(
            [
                hash_weights(self.detector.folder),
                hash_weights(resolve_checkpoint(segmenter)) if segmenter else "random",
                self.backbone.weights_hash,
            ]
        )

    @property
    def identity(self) -> str:
        """Hash of what maps depend on, besides image and class: weights, settings, and all that is told."""
        config, told = self.config, [path.read_text(encoding="utf-8") for path in (PROPERTIES, WORDS)]
        own = [{name: asdict(each) for name, each in config.classes.items()}, config.default and asdict(config.default)]
        sizes = [config.dino.box_threshold, config.dino.text_threshold, config.backbone.image_size, config.several_size]
        return hash_value([self.name, self.weights_hash, sizes, told, own])

    def properties(self, category: str) -> ClassProperties:
        """What is told about a class.

        Raises:
            UserError: If nothing is.
        """
        return find_properties(category, self.config.classes, self.config.default)

    def check(self, categories: Sequence[str]) -> None:
        """Refuses classes that nothing is told about; see `Expert.check`."""
        for category in sorted(set(categories)):
            self.properties(category)

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        """Scores images; see `Expert.detect`."""
        return detect_by_category(self, samples, images)

    def score(self, category: str, images: Sequence[ImageArray]) -> list[tuple[MapArray, float]]:
        """Map at the image's own size, and its maximum at 400 pixels square, of images of one category."""
        told = self.properties(category)
        return [self._score(image, told) for image in images]

    def save(self, folder: Path, fitted: Mapping[str, list[str]]) -> None:
        """Writes configuration and gates; `fitted` holds the ids of the images that each gate was set on."""
        write_gates(folder, self.gates)
        write_expert(folder, self.name, asdict(self.config) | {"weights_hash": self.weights_hash}, fitted)

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> SAA:
        """Loads what `save` wrote.

        Args:
            folder: Where to.
            device: Where it runs here, see `models.device`.

        Raises:
            UserError: If the folder holds none, or a checkpoint is gone or another.
        """
        config, weights_hash = read_config(folder, cls.name, SAAConfig)
        expert = cls(replace(config, device=device))
        if expert.weights_hash != weights_hash:
            raise UserError(f"{folder} was fitted with other weights than lie there now. Fit it again.")
        expert.gates.update(read_gates(folder))
        return expert

    def _score(self, image: ImageArray, told: ClassProperties) -> tuple[MapArray, float]:
        objects = keep_objects(self.detector.find(image, [told.name]), told.objects)
        defects = keep_defects(self.detector.find(image, told.prompts()), objects, told.area, told.name)
        best = BestRegions(told.boxes, (image.shape[0], image.shape[1]))
        if len(defects):
            embedding = self.segmenter.embed(image)
            saliency = self._saliency(image, embedding, objects, told.objects)
            masks = self.segmenter.segment(image, embedding, defects.boxes)
            for score, mask in zip(defects.scores.tolist(), masks, strict=True):
                best.add(rescore(score, mask, saliency), mask)
        anomaly_map = best.merge()
        square = cv2.resize(anomaly_map, (EVALUATED, EVALUATED), interpolation=cv2.INTER_LINEAR)
        return anomaly_map, float(square.max())

    def _saliency(self, image: ImageArray, embedding: Tensor, objects: Regions, count: int) -> MapArray:
        """Saliency of an image, (H, W)."""
        if count == 1:
            found = single_saliency(extract_features(self.backbone, image, self.config.backbone.image_size))
        else:
            features = extract_features(self.backbone, image, self.config.several_size)
            size = features.shape[:0:-1]
            small: list[Any] = [
                cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
                for mask in self.segmenter.segment(image, embedding, objects.boxes)
            ]
            masks = (
                torch.from_numpy(np.stack(small)) if small else torch.zeros(0, *features.shape[1:], dtype=torch.bool)
            )
            found = instance_saliency(features, masks)
        enlarged = cv2.resize(found.cpu().numpy(), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged, np.float32)


def _build_sam(config: SamConfig) -> Sam:
    try:
        return build_sam(config)
    except UserError as error:
        raise UserError(str(error).replace("mdlm.sam", "saa.sam")) from error  # where this one is configured
