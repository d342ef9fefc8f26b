"""What can be set for EDDM's training, and what contradicts itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from data.errors import UserError
from train.eddm_base.config import BaseConfig


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Which model ms-swift fine-tunes.

    Attributes:
        id: Hub id or folder; empty trains the tiny base first.
        model_type: ms-swift's model type.
        template: ms-swift's template.
        revision: Pinned revision of the weights and their code.
        trust_remote_code: Run the code that comes with the weights; needs a pinned revision.
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
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.05
    target_regex: str | None = None
    freeze_vit: bool = True
    freeze_aligner: bool = True


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """Optimisation of the LoRA stage.

    Attributes:
        lr: Peak learning rate.
        epochs: Passes over DDQA.
        max_steps: Stop after so many steps; -1 leaves it to `epochs`.
        batch_size: Rows a device and step.
        accumulation: Steps whose gradients are added up.
        schedule: Name of transformers' schedule.
        warmup_ratio: Share of the steps with rising rate.
        weight_decay: Of AdamW.
        beta2: Of AdamW.
        gradient_checkpointing: Trade time for memory.
        deepspeed: `zero2`, another of ms-swift's names or a JSON file; None for none.
        workers: Processes that load images.
        save_steps: Steps between checkpoints to resume from.
        use_cpu: Train on the CPU.
        max_length: Longest row in tokens.
        fast_matmul: See `train.eddm_base.config.BaseConfig`.
        image_size: Keep a resized copy of every image (side in pixels) beside the run; None reads the originals.
    """

    lr: float
    epochs: float = 1.0
    max_steps: int = -1
    batch_size: int = 8
    accumulation: int = 1
    schedule: str = "cosine"
    warmup_ratio: float = 0.05
    weight_decay: float = 0.1
    beta2: float = 0.95
    gradient_checkpointing: bool = True
    deepspeed: str | None = None
    workers: int = 4
    save_steps: int = 100
    use_cpu: bool = False
    max_length: int = 2048
    fast_matmul: bool = False
    image_size: int | None = None


class Stage(StrEnum):
    """Which part of the training to run."""

    all = "all"
    language = "language"
    vision = "vision"
    base = "base"
    adapter = "adapter"


@dataclass(kw_only=True, slots=True)
class EDDMConfig:
    """Everything that decides how EDDM is trained.

    Attributes:
        preset: Name of the preset; recorded, not interpreted.
        run_dir: Run directory; reads `ddqa/train.jsonl`, writes `eddm/`.
        questions: Another DDQA file; empty takes the run's own.
        hold_out: Categories left out of training, to tune on.
        stage: `base` trains the tiny base alone, which needs no questions; `language` and `vision` only one part of
            it, which can run side by side; `adapter` and `all` train the adapter, after the base where it is missing.
        model: What is fine-tuned.
        base: How the tiny base is trained, when `model.id` is empty.
        lora: The adapter.
        optim: Optimisation.
        seed: Seed of everything random.
    """

    preset: str
    run_dir: str
    model: ModelConfig
    optim: OptimConfig
    questions: str = ""
    hold_out: list[str] = field(default_factory=list)
    stage: Stage = Stage.all
    base: BaseConfig | None = None
    lora: LoraConfig = field(default_factory=LoraConfig)
    seed: int = 0


def check_model(config: EDDMConfig) -> None:
    """Rejects configurations that cannot work.

    Raises:
        UserError: On remote code without a pinned revision, a missing base, or a wrong checkpoint folder.
    """
    model = config.model
    if model.trust_remote_code and not model.revision:
        raise UserError(f"model.trust_remote_code=true for {model.id} needs a pinned model.revision=<commit>.")
    if config.stage in (Stage.language, Stage.vision, Stage.base) and config.base is None:
        raise UserError(f"stage={config.stage}: the preset '{config.preset}' trains no base. Leave stage out.")
    if not model.id and config.base is None:
        raise UserError("Neither model.id nor base is set: name a checkpoint, or use preset=tiny.")
    folder = Path(model.id) if model.id else None
    local = folder is not None and (folder.is_absolute() or model.id.startswith(".") or folder.exists())
    if folder is not None and local and not (folder / "config.json").is_file():
        raise UserError(f"No checkpoint at model.id={folder}: it has no config.json. Give its folder or a hub id.")
