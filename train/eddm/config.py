"""What can be set for EDDM's training, and what contradicts itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from data.errors import UserError
from data.files import read_json
from data.run import Run
from models.weights.shipped import TinyBase, check_base
from train.engine.resume import Resume
from train.engine.tracking import TrackingConfig

DEEPSPEED = ("zero0", "zero1", "zero2", "zero3", "zero2_offload", "zero3_offload")  # ms-swift's own files
MIN_KEPT = 2  # when the newest checkpoint is damaged there must be one before it


class Quantize(StrEnum):
    """How the frozen base is kept in memory."""

    none = "none"
    nf4 = "nf4"


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Which model ms-swift fine-tunes.

    Attributes:
        id: Hub id in the cache, or folder.
        model_type: ms-swift's model type.
        template: ms-swift's template.
        revision: Commit of a hub id; with code of its own the pin of that code: the commit, or of a folder the hash of
            its code files (`models.weights.trust`).
        trust_remote_code: Allows the code that comes with the weights; needs the pin.
        torch_dtype: Weights and arithmetic: `bfloat16`, `float16` or `float32`.
        attn_impl: Attention implementation.
        backend: Who answers afterwards: `transformers` (one tile an image, MiniCPM-V 4.6) or `swift` (anything).
    """

    id: str
    model_type: str
    template: str
    revision: str | None = None
    trust_remote_code: bool = False
    torch_dtype: str = "bfloat16"
    attn_impl: str = "sdpa"
    backend: str = "swift"


@dataclass(kw_only=True, slots=True)
class LoraConfig:
    """LoRA. The paper gives rank and alpha; what it leaves open is ms-swift's default.

    Attributes:
        rank: Rank.
        alpha: Scale is alpha / rank.
        dropout: Dropout before the adapter.
        target_regex: Modules to adapt; None takes every linear layer of the language model.
        freeze_vit: Leave the vision tower alone.
        freeze_aligner: Leave what joins vision and language alone.
        quantize: `nf4` keeps the frozen linear layers of the language model in 4 bits (QLoRA, with bitsandbytes).
        compute_dtype: Arithmetic on 4-bit weights; None takes `model.torch_dtype`.
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.05
    target_regex: str | None = None
    freeze_vit: bool = True
    freeze_aligner: bool = True
    quantize: Quantize = Quantize.none
    compute_dtype: str | None = None


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """Optimisation of the LoRA stage.

    Attributes:
        lr: Peak learning rate.
        epochs: Passes over DDQA.
        max_steps: Stop after so many steps; -1 leaves it to `epochs`.
        total_batch: Rows behind every step of the optimizer, whatever the number of devices.
        batch_size: Most rows that a device holds at once; how often gradients are added up follows from both.
        schedule: Name of transformers' schedule.
        warmup_ratio: Share of the steps with rising rate.
        weight_decay: Of AdamW.
        beta2: Of AdamW.
        gradient_checkpointing: Trade time for memory.
        deepspeed: `zero2`, `zero3`, another of ms-swift's names or a JSON file; None for none.
        workers: Processes that load images.
        save_steps: Steps between checkpoints to resume from.
        keep: How many checkpoints to keep while training; at least two, for the newest may be damaged.
        log_steps: Steps between log rows.
        loss_limit: A loss beyond it, or one that is no number, stops the training.
        use_cpu: Train on the CPU.
        max_length: Longest row in tokens.
        fast_matmul: Let float32 products run on the CPU's bfloat16 units where it has them.
        image_size: Keep a resized copy of every image beside the run: its longer side in pixels, 0 for the side to
            which the base's own processor resizes; None reads the originals.
    """

    lr: float
    epochs: float = 1.0
    max_steps: int = -1
    total_batch: int = 16
    batch_size: int = 8
    schedule: str = "cosine"
    warmup_ratio: float = 0.05
    weight_decay: float = 0.1
    beta2: float = 0.95
    gradient_checkpointing: bool = True
    deepspeed: str | None = None
    workers: int = 4
    save_steps: int = 100
    keep: int = 2
    log_steps: int = 5
    loss_limit: float = 100.0
    use_cpu: bool = False
    max_length: int = 2048
    fast_matmul: bool = False
    image_size: int | None = None


@dataclass(kw_only=True, slots=True)
class EDDMConfig:
    """Everything that decides how EDDM is trained.

    Attributes:
        preset: Name of the preset.
        run_dir: Run directory; reads `ddqa/train.jsonl`, writes `eddm/`.
        base: Which bases the tiny preset starts from.
        questions: DDQA files that take the place of the run's own, `RUN/ddqa/train.jsonl`; several are read one after
            the other.
        hold_out: Categories left out of training, to tune on.
        model: What is fine-tuned.
        lora: The adapter.
        optim: Optimisation.
        seed: Seed of everything random.
        resume: `never` throws unfinished work of the stage away; what is finished with these settings stays.
        tracking: How progress is shown.
    """

    preset: str
    run_dir: str
    model: ModelConfig
    optim: OptimConfig
    base: TinyBase = TinyBase.shipped
    questions: list[str] = field(default_factory=list)
    hold_out: list[str] = field(default_factory=list)
    lora: LoraConfig = field(default_factory=LoraConfig)
    seed: int = 0
    resume: Resume = Resume.auto
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How the total batch is spread: `rows` × `accumulation` × `ranks` rows a step of the optimizer."""

    rows: int
    accumulation: int
    ranks: int


def plan_batch(optim: OptimConfig, ranks: int) -> BatchPlan:
    """Spreads the total batch over the ranks.

    Raises:
        UserError: If it cannot be spread evenly.
    """
    share, rest = divmod(optim.total_batch, ranks)
    rows = min(optim.batch_size, share)
    if optim.batch_size < 1 or rest or not share or share % rows:
        raise UserError(
            f"optim.total_batch={optim.total_batch} cannot be spread over {ranks} ranks that hold "
            f"optim.batch_size={optim.batch_size} rows at once. Make it a multiple of both."
        )
    return BatchPlan(rows, share // rows, ranks)


def check_model(config: EDDMConfig) -> None:
    """Rejects configurations that cannot work.

    Raises:
        UserError: On remote code without a pinned revision, a wrong checkpoint folder, another preset's base, or a
            strategy that cannot run here.
    """
    _check_optim(config.optim)
    check_base(config.base, config.preset)
    model = config.model
    if model.trust_remote_code and not model.revision and not Path(model.id).is_dir():
        raise UserError(f"model.trust_remote_code=true for {model.id} needs a pinned model.revision=<commit>.")
    folder = Path(model.id)
    own = folder.is_relative_to(Run(Path(config.run_dir)).eddm)
    local = own or folder.is_absolute() or model.id.startswith(".") or folder.exists()
    if local and not (folder / "config.json").is_file():
        make = f"Make it first: python -m scripts.train_tiny_base run_dir={config.run_dir}; or leave base=train out."
        cure = make if own else "Give its folder or a hub id."
        raise UserError(f"No checkpoint at model.id={folder}: it has no config.json. {cure}")


def _check_optim(optim: OptimConfig) -> None:
    if optim.keep < MIN_KEPT:
        raise UserError(f"optim.keep={optim.keep} is too few: the newest checkpoint may be damaged. Keep {MIN_KEPT}.")
    for name in ("save_steps", "log_steps"):
        if getattr(optim, name) < 1:
            raise UserError(f"optim.{name}={getattr(optim, name)} must be at least 1.")
    if optim.deepspeed is None:
        return
    if zero_stage(optim.deepspeed) == 3 and optim.use_cpu:
        raise UserError(
            f"optim.deepspeed={optim.deepspeed} (ZeRO-3) does not run on the CPU with these libraries. Use zero2, or "
            "train on GPUs with optim.use_cpu=false."
        )


def zero_stage(deepspeed: str) -> int:
    """The ZeRO stage that one of ms-swift's names or a DeepSpeed JSON file stands for.

    Raises:
        UserError: If it is neither, or the file sets no stage.
    """
    if deepspeed in DEEPSPEED:
        return int(deepspeed[4])
    if not Path(deepspeed).is_file():
        raise UserError(f"optim.deepspeed={deepspeed} is no file and none of {', '.join(DEEPSPEED)}.")
    settings = read_json(Path(deepspeed))
    zero = settings.get("zero_optimization") if isinstance(settings, dict) else None
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if stage not in (0, 1, 2, 3):
        raise UserError(f"No zero_optimization.stage of 0 to 3 in optim.deepspeed={deepspeed}. Set it there.")
    return int(stage)
