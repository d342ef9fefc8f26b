"""What can be set for the planner, and the assumptions behind its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.errors import UserError


@dataclass(kw_only=True, slots=True)
class PlanConfig:
    """What to plan for, and what to assume.

    Attributes:
        preset: Preset whose two trainings are planned, with the very configurations that the training commands compose.
        gpus: GPUs of all nodes together.
        gpu_gib: Memory of one GPU, in GiB.
        json: Print one JSON document instead of tables.
        measure: Run one real step and print predicted beside measured; needs a GPU, except for the tiny preset.
        eddm: Overrides for the EDDM's training, as on its own command line: `eddm.optim.batch_size=2`.
        mdlm: Overrides for the MDLM's training: `mdlm.loop.batch_size=16`.
        text_tokens: Tokens of a row beside the image: template, question or description, answer.
        slices: Most image slices a row of EDDM is cut into, beside the whole image (MiniCPM-V's own limit is 9).
        eddm_rows: Rows of an epoch of the EDDM; None takes the published count of DDQA.
        mdlm_masks: Masks of an epoch of the MDLM by dataset: published counts where they are known.
        gpu_tflops: Peak of one GPU in the forward pass's number format, in TFLOP/s.
        utilisation: Share of that peak that a training reaches.
        overhead_gib: What the driver, the libraries and the communication take on each GPU.
        margin: Share added to the predicted peak, for fragmentation and for what the model leaves out.
    """

    preset: str
    gpus: int = 8
    gpu_gib: float = 80.0
    json: bool = False
    measure: bool = False
    eddm: dict[str, Any] = field(default_factory=dict)
    mdlm: dict[str, Any] = field(default_factory=dict)
    text_tokens: int = 128
    slices: int = 9
    eddm_rows: int | None = None
    mdlm_masks: dict[str, int] = field(default_factory=dict)
    gpu_tflops: float = 312.0
    utilisation: float = 0.35
    overhead_gib: float = 1.5
    margin: float = 0.1


def check_plan(config: PlanConfig) -> None:
    """Rejects settings that make no sense.

    Raises:
        UserError: Naming the first one.
    """
    if config.gpus < 1:
        raise UserError(f"gpus={config.gpus}: plan for at least one GPU.")
    for name in ("gpu_gib", "gpu_tflops", "text_tokens"):
        if getattr(config, name) <= 0:
            raise UserError(f"{name}={getattr(config, name)} must be above 0.")
    if not 0 < config.utilisation <= 1:
        raise UserError(f"utilisation={config.utilisation} is a share of the peak: give a value in 0..1.")
    for name in ("overhead_gib", "margin", "slices"):
        if getattr(config, name) < 0:
            raise UserError(f"{name}={getattr(config, name)} must not be negative.")
    if config.eddm_rows is not None and config.eddm_rows < 1:
        raise UserError(f"eddm_rows={config.eddm_rows}: an epoch has at least one row.")
    if not config.mdlm_masks or any(count < 0 for count in config.mdlm_masks.values()):
        raise UserError(f"mdlm_masks={config.mdlm_masks}: give the number of masks of each dataset.")


def flatten_overrides(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Nested overrides as the words of a command line: `{"loop": {"batch_size": 4}}` is `loop.batch_size=4`."""
    words: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            words += flatten_overrides(value, f"{prefix}{key}.")
        else:
            words.append(f"{prefix}{key}={'null' if value is None else value}")
    return words
