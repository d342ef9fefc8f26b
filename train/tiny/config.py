"""How the base is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.tiny.pool import ScenePoolConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig


@dataclass(kw_only=True, slots=True)
class BaseConfig:
    """How the base is trained.

    Attributes:
        model: Sizes.
        scenes: Generic scenes.
        language_steps: Steps of the language model alone.
        vision_steps: Steps of the vision tower alone.
        reading_steps: Steps of the language model on what the vision tower writes.
        language_batch: Texts a step of the language model alone.
        vision_batch: Images a step of the vision tower alone.
        reading_batch: Images a step of reading.
        reading_scenes: How many further scenes reading is trained on.
        turns: Questions an image.
        matrix_lr: Peak learning rate of the weight matrices (Muon, scaled to AdamW's size of update).
        other_lr: Peak learning rate of everything else in the language model (AdamW).
        vision_lr: Peak learning rate of everything else in the vision tower (AdamW).
        reading_lr: Peak of the language model's rates in reading, relative to those before.
        weight_decay: Of the weight matrices.
        clean_weight: Weight of a cell without a mark in the loss of the cells.
        depth_weight: Weight of the same loss of the cells where the tower's inner layers leave off.
        spelling_weight: Weight of the visual tokens' distance to what they should say.
        box_share: Share of the texts and images about which a box may be asked.
        fast_matmul: Let float32 products run on the CPU's bfloat16 units where it has them.
        save_every: Steps between checkpoints to resume from.
    """

    model: TinyMiniCPMVConfig = field(default_factory=TinyMiniCPMVConfig)
    scenes: ScenePoolConfig = field(default_factory=ScenePoolConfig)
    language_steps: int = 700
    vision_steps: int = 1550
    reading_steps: int = 150
    language_batch: int = 32
    vision_batch: int = 16
    reading_batch: int = 24
    reading_scenes: int = 2000
    turns: int = 3
    matrix_lr: float = 4e-3
    other_lr: float = 4e-3
    vision_lr: float = 1e-3
    reading_lr: float = 0.5
    weight_decay: float = 0.05
    clean_weight: float = 0.3
    depth_weight: float = 1.0
    spelling_weight: float = 0.3
    box_share: float = 0.3
    fast_matmul: bool = True
    save_every: int = 200
