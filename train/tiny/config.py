"""How the tiny bases are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from data.tiny.pool import ScenePoolConfig
from data.tiny.referring import ReferringConfig
from models.mdlm.llava import TEMPLATE
from models.mdlm.sam import SamConfig
from models.tiny.llava_sam import TinyLlavaConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig
from train.engine.launch import LaunchConfig
from train.engine.resume import Resume
from train.engine.tracking import TrackingConfig
from train.mdlm.config import LoopConfig
from train.mdlm.losses import LossConfig
from train.ship.config import ShipConfig


@dataclass(kw_only=True, slots=True)
class BaseConfig:
    """How EDDM's base is trained.

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


@dataclass(kw_only=True, slots=True)
class BaseMDLMConfig:
    """What the base is made of and how long each stage takes.

    Attributes:
        llava: Sizes of the language model.
        sam: Sizes of SAM; its checkpoint is where the result goes and is not read.
        template: Chat format, see `LlavaConfig`.
        scenes: Generic scenes and what is said about them.
        replay: The same for the scenes that are drawn again for the adapter's training to mix in.
        loss: Mask loss of the decoder and referring stages.
        place_weight: Weight of the positional code in the language stage.
        cell_weight: Weight of the per-cell loss in the decoder stage.
        attention_gain: Factor on the query and key weights between prompts and cells, which start out tied: then a
            positional prompt attends to its place from the first step, as in a trained SAM.
        residual_scale: Factor on the output weights of the encoder's residual layers at the start.
        language: Stage 1; a batch is that many descriptions.
        encoder: Stage 2.
        decoder: Stage 3.
        referring: Stage 4.
    """

    llava: TinyLlavaConfig = field(default_factory=TinyLlavaConfig)
    sam: SamConfig = field(default_factory=SamConfig)
    template: str = TEMPLATE
    scenes: ReferringConfig = field(default_factory=ReferringConfig)
    replay: ReferringConfig = field(default_factory=ReferringConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    place_weight: float = 1.0
    cell_weight: float = 0.3
    attention_gain: float = 3.0
    residual_scale: float = 0.1
    language: LoopConfig = field(default_factory=LoopConfig)
    encoder: LoopConfig = field(default_factory=LoopConfig)
    decoder: LoopConfig = field(default_factory=LoopConfig)
    referring: LoopConfig = field(default_factory=LoopConfig)


class BasePart(StrEnum):
    """What to train: both bases, one, or a part of EDDM's that can be trained by itself; or ship what is finished."""

    all = "all"
    eddm = "eddm"
    vision = "vision"
    language = "language"
    mdlm = "mdlm"
    ship = "ship"


@dataclass(kw_only=True, slots=True)
class TinyBaseConfig:
    """How the checkpoints are made that the tiny preset starts from.

    Attributes:
        run_dir: The run directory; gets `eddm/base` and `mdlm/base`.
        part: What to train.
        seed: Seed of everything random.
        eddm: EDDM's base.
        mdlm: The MDLM's base.
        tracking: How the progress of the MDLM's base is shown.
        launch: How ranks work together on the MDLM's base; EDDM's is trained in one process.
        resume: Goes on with interrupted work of the same settings, or starts unfinished parts again.
        ship: Where to, with `part=ship`.
    """

    run_dir: str
    part: BasePart = BasePart.all
    seed: int = 0
    eddm: BaseConfig = field(default_factory=BaseConfig)
    mdlm: BaseMDLMConfig = field(default_factory=BaseMDLMConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    resume: Resume = Resume.auto
    ship: ShipConfig = field(default_factory=ShipConfig)
