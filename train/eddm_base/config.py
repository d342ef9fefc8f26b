"""How the base is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.scene_pool import ScenePoolConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig


@dataclass(kw_only=True, slots=True)
class BaseConfig:
    """How the base is trained.

    Attributes:
        model: Sizes.
        scenes: Generic scenes.
        language_steps: Steps of the language model alone.
        vision_steps: Steps of the vision tower alone.
        joint_steps: Steps of both.
        language_batch: Texts a step of the language model alone.
        vision_batch: Images a step of the vision tower alone.
        joint_batch: Images a step of both.
        joint_scenes: How many of the scenes both are trained on.
        turns: Questions an image.
        matrix_lr: Peak learning rate of the weight matrices (Muon, scaled to AdamW's size of update).
        other_lr: Peak learning rate of everything else in the language model (AdamW).
        vision_lr: Peak learning rate of everything else in the vision tower (AdamW).
        joint_vision_lr: Peak of the vision tower while both are trained, relative to its own peak.
        joint_language_lr: The same for the language model.
        weight_decay: Of the weight matrices.
        clean_weight: Weight of a cell without a mark in the loss of the cells.
        spelling_weight: Weight of the visual tokens' distance to what they should say.
        seeing_weight: Weight of both losses of the vision tower while both are trained.
        box_share: Share of the texts and images about which a box may be asked.
        fast_matmul: Let float32 products run on the CPU's bfloat16 units where it has them.
        save_every: Steps between checkpoints to resume from.
    """

    model: TinyMiniCPMVConfig = field(default_factory=TinyMiniCPMVConfig)
    scenes: ScenePoolConfig = field(default_factory=ScenePoolConfig)
    language_steps: int = 900
    vision_steps: int = 1000
    joint_steps: int = 250
    language_batch: int = 32
    vision_batch: int = 32
    joint_batch: int = 24
    joint_scenes: int = 2000
    turns: int = 3
    matrix_lr: float = 4e-3
    other_lr: float = 4e-3
    vision_lr: float = 1e-3
    joint_vision_lr: float = 0.1
    joint_language_lr: float = 0.5
    weight_decay: float = 0.05
    clean_weight: float = 0.3
    spelling_weight: float = 1.0
    seeing_weight: float = 0.5
    box_share: float = 0.3
    fast_matmul: bool = True
    save_every: int = 200
