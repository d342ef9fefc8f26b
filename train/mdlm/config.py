"""What can be set for the MDLM's training (EIAD, Sec. III-C and IV-B)."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.source import DataConfig
from data.training.descriptions import DescribeMode, Naming
from data.training.grounding import AugmentConfig, DescriptionMode
from models.mdlm.model import MDLMConfig
from models.weights.shipped import TinyBase
from train.engine.launch import LaunchConfig, MixedPrecision
from train.engine.optim import OptimConfig
from train.engine.resume import Resume
from train.engine.tracking import TrackingConfig
from train.mdlm.losses import LossConfig


@dataclass(kw_only=True, slots=True)
class LoopConfig:
    """How long and how to train.

    Attributes:
        steps: Optimizer steps.
        batch_size: Images per step, over all ranks.
        optim: Optimizer and schedule.
        precision: Number format of the forward pass.
        checkpoint_every: Steps between checkpoints.
        keep_last: Checkpoints that stay, the newest ones.
        keep_best: Keeps the checkpoint with the smallest mean of recent losses too, after the stage as well.
        explosion: A loss above so many times the median of the last ones stops the run; None lets it go on.
        workers: Data-loading processes of each rank; 0 loads in the rank itself.
    """

    steps: int = 200
    batch_size: int = 8
    optim: OptimConfig = field(default_factory=OptimConfig)
    precision: MixedPrecision = MixedPrecision.no
    checkpoint_every: int = 50
    keep_last: int = 2
    keep_best: bool = False
    explosion: float | None = 1000.0
    workers: int = 0


INDECISIVE = ("checkpoint_every", "keep_last", "keep_best", "explosion", "workers")  # the weights do not depend on them


@dataclass(kw_only=True, slots=True)
class RunConfig:
    """How a stage runs, apart from what it computes.

    Attributes:
        tracking: How progress is shown.
        launch: How the ranks work together.
    """

    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)


@dataclass(kw_only=True, slots=True)
class MixConfig:
    """What a batch is made of. The paper is silent; LISA too mixes referring segmentation into its training.

    Attributes:
        normal_share: Share of normal images in the rest of the batch. The paper trains on mask annotations, so 0; None
            draws all images alike.
        replay: Images of a batch that are no training images but replay items, so that a short fine-tuning on noisy
            descriptions does not unlearn reading. 0 trains on the dataset alone.
        items: File of the replay items: pictures (`.jsonl`, data/training/replay.py) or scenes to draw (`.json`,
            data/tiny/drawn.py); read where `replay` is not 0.
    """

    normal_share: float | None = 0.0
    replay: int = 0
    items: str | None = None


@dataclass(kw_only=True, slots=True)
class TrainMDLMConfig:
    """Everything that decides a training run.

    Attributes:
        preset: Name of the preset.
        run_dir: The run directory.
        base: Which bases the tiny preset starts from.
        seed: Seed of weights, order and augmentation.
        description: What the MDLM is told about each image.
        descriptions: `RUN/descriptions/<name>.jsonl`, or a path that ends in `.jsonl`; read in mode `eddm` alone.
        mode: How these descriptions came about.
        length: Most tokens of free ones.
        naming: How structured ones found their names.
        data: Training samples, and zero-shot samples that must share no category or image with them.
        mdlm: The model and the checkpoints that it starts from.
        loop: How long and how to train.
        loss: Weights of the loss.
        mix: What a batch is made of.
        augment: Photometric augmentation; None trains on the images as they are.
        keep_decoded: Keeps decoded images in memory.
        side: Training images are brought to this longer side, in pixels, before they are augmented; None keeps their
            size.
        tracking: How progress is shown.
        launch: How the ranks work together.
        resume: Goes on from checkpoints of the same settings and data, or starts again and replaces what is there.
    """

    preset: str
    run_dir: str
    base: TinyBase = TinyBase.shipped
    seed: int = 0
    description: DescriptionMode = DescriptionMode.eddm
    descriptions: str = "train"
    mode: DescribeMode = DescribeMode.structured
    length: int = 48
    naming: Naming = Naming.rounds
    data: DataConfig
    mdlm: MDLMConfig
    loop: LoopConfig = field(default_factory=LoopConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    mix: MixConfig = field(default_factory=MixConfig)
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    keep_decoded: bool = False
    side: int | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    resume: Resume = Resume.auto
