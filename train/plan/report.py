"""A plan as a JSON document and as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from train.plan.blueprint import Blueprint
from train.plan.config import PlanConfig
from train.plan.feeding import SIDE
from train.plan.options import GIB, Option, Strategy, recommend

TITLES = {Strategy.ddp: "DDP", Strategy.zero2: "ZeRO-2", Strategy.qlora: "QLoRA", Strategy.zero3: "ZeRO-3"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartPlan:
    """The plan of one training.

    Attributes:
        blueprint: The training in numbers.
        options: All options, simplest first.
        samples: Rows or masks of an epoch.
        samples_from: Where that number comes from.
        measured: Predicted and measured peak of a real step, in bytes; None where none was run.
        image_seconds: What a data worker needs for an image, see `train.plan.feeding`; None where that is not known.
    """

    blueprint: Blueprint
    options: Sequence[Option]
    samples: int
    samples_from: str
    measured: dict[str, Any] | None = None
    image_seconds: float | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every sample once."""
        return math.ceil(self.samples / self.blueprint.batch)

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        if self.blueprint.steps is not None:
            return self.blueprint.steps
        return math.ceil(self.steps_per_epoch * (self.blueprint.epochs or 1))

    def workers(self, option: Option) -> int | None:
        """Data workers that one GPU needs so as not to wait for images."""
        if self.image_seconds is None:
            return None
        return max(1, math.ceil(option.rows * option.accumulation / option.step_seconds * self.image_seconds))


def compose_document(config: PlanConfig, parts: Sequence[PartPlan]) -> dict[str, Any]:
    """Everything as JSON values; memory in GiB."""
    assumed = ("text_tokens", "slices", "gpu_tflops", "utilisation", "overhead_gib", "margin")
    return {
        "preset": config.preset,
        "gpus": config.gpus,
        "gpu_gib": config.gpu_gib,
        "assumptions": {name: getattr(config, name) for name in assumed},
        "parts": {part.blueprint.name.lower(): _part_document(part) for part in parts},
    }


def _part_document(part: PartPlan) -> dict[str, Any]:
    blueprint = part.blueprint
    best = {tiles: recommend(part.options, tiles) for tiles in dict.fromkeys(o.tiles for o in part.options)}
    return {
        "sizes_from": blueprint.source,
        "parameters": {"total": blueprint.total, "trainable": blueprint.trainable},
        "batch": blueprint.batch,
        "samples": part.samples,
        "samples_from": part.samples_from,
        "steps_per_epoch": part.steps_per_epoch,
        "steps": part.steps,
        "checkpoint_gib": round(12 * blueprint.trainable / GIB, 3),
        "configured_tiles": blueprint.configured_tiles,
        "options": [_option_document(option, part.steps) for option in part.options],
        "recommended": {tiles: option and _option_document(option, part.steps) for tiles, option in best.items()},
        "measured": part.measured,
        "seconds_per_image_and_worker": part.image_seconds,
        "workers_per_gpu": {tiles: option and part.workers(option) for tiles, option in best.items()},
    }


def _option_document(option: Option, steps: int) -> dict[str, Any]:
    memory = {f"{name}_gib": round(value / GIB, 3) for name, value in asdict(option.memory).items()}
    return {
        "strategy": option.strategy.value,
        "checkpointing": option.checkpointing,
        "tiles": option.tiles,
        "tokens": option.length,
        "rows_per_gpu": option.rows,
        "accumulation": option.accumulation,
        **memory,
        "needed_gib": round(option.needed_gib, 3),
        "fits": option.fits,
        "step_tflop": round(option.step_tflops, 3),
        "step_seconds": round(option.step_seconds, 4),
        "hours": round(option.step_seconds * steps / 3600, 3),
    }


def compose_text(config: PlanConfig, parts: Sequence[PartPlan]) -> str:
    """Tables for a terminal: a row an option, what fits is marked."""
    lines = [f"preset={config.preset}: {config.gpus} × {config.gpu_gib:g} GiB"]
    for part in parts:
        lines += ["", *_part_text(part)]
    lines += [
        "",
        f"Memory in GiB a GPU; needs = peak + {config.margin:.0%} margin + {config.overhead_gib:g} GiB for driver and "
        f"libraries. Time: {config.gpu_tflops:g} TFLOP/s a GPU at {config.utilisation:.0%}.",
        "Activations, buffers and operations come from the real code on fake tensors (train/plan/), not from a GPU.",
    ]
    return "\n".join(lines)


def _part_text(part: PartPlan) -> list[str]:
    blueprint = part.blueprint
    train = f"{blueprint.trainable / 1e6:,.2f} M of {blueprint.total / 1e6:,.1f} M parameters trained"
    lines = [
        f"{blueprint.name}: {blueprint.source}",
        f"  {train}; batch {blueprint.batch}",
        f"  an epoch: {part.steps_per_epoch:,} steps ({part.samples:,} {part.samples_from}); planned: {part.steps:,}",
        "",
        f"    {'option':8} {'ckpt':4} {'tokens':>6} {'rows':>6} {'weights':>8} {'grads':>7} {'optim':>7} {'activ.':>7} "
        f"{'buffers':>7} {'peak':>7} {'needs':>7}  {'fits':4} {'TFLOP':>8} {'s/step':>8} {'hours':>7}",
    ]
    best = {tiles: recommend(part.options, tiles) for tiles in dict.fromkeys(o.tiles for o in part.options)}
    for option in part.options:
        mark = "→" if option is best[option.tiles] else " "
        lines.append(f"  {mark} {_row(option, part.steps)}")
    lines += ["", *(_advice(tiles, option, part) for tiles, option in best.items())]
    if part.image_seconds:
        lines.append(
            f"  one data worker prepares {1 / part.image_seconds:.1f} photos of {SIDE}² pixels a second, timed on this "
            "machine with one core; take it where the GPUs are"
        )
    if part.measured:
        predicted, measured = part.measured["predicted_gib"], part.measured["measured_gib"]
        ratio = predicted / measured
        lines.append(
            f"  one real step on {part.measured['device']}, {part.measured['setting']}: "
            f"predicted {predicted:.3f} GiB | measured {measured:.3f} GiB ({ratio:.2f} ×)"
        )
    return lines


def _row(option: Option, steps: int) -> str:
    values = option.memory
    cells = [values.weights, values.gradients, values.optimizer, values.activations, values.buffers, values.peak]
    shown = " ".join(f"{value / GIB:{width}.2f}" for value, width in zip(cells, (8, 7, 7, 7, 7, 7), strict=True))
    rows = f"{option.rows}×{option.accumulation}"
    fits = "yes" if option.fits else "-"
    return (
        f"{TITLES[option.strategy]:8} {'on' if option.checkpointing else 'off':4} {option.length:6} {rows:>6} {shown} "
        f"{option.needed_gib:7.2f}  {fits:4} {option.step_tflops:8.2f} {option.step_seconds:8.3f} "
        f"{option.step_seconds * steps / 3600:7.2f}"
    )


def _advice(tiles: str, option: Option | None, part: PartPlan) -> str:
    chosen = " (as configured)" if tiles == part.blueprint.configured_tiles else ""
    start = f"  {tiles} tile{'s' if tiles == 'several' else ''} an image{chosen}:"
    if option is None:
        least = min((o for o in part.options if o.tiles == tiles), key=lambda o: o.needed_gib)
        name = f"{TITLES[least.strategy]}{' with checkpointing' if least.checkpointing else ''}"
        return f"{start} nothing fits; least is {name} with {least.needed_gib:.1f} GiB. Take more GPUs or larger ones."
    name = f"{TITLES[option.strategy]}{' with gradient checkpointing' if option.checkpointing else ''}"
    workers = part.workers(option)
    fed = "" if workers is None else f", {workers} data worker{'s' if workers > 1 else ''} a GPU (loop.workers)"
    return f"{start} take {name}, {option.needed_gib:.1f} GiB a GPU{fed}."
