"""What accelerate keeps in a checkpoint: the state of every rank, and of the model only the weights that are trained.

The states are torch-serialised and are read from the run's own directory alone; exports never hold them.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from data.errors import UserError
from data.files import make_dir
from train.engine import ranks
from train.engine.durable import check_space
from train.engine.launch import Strategy, whole_parameters
from train.engine.manifest import (
    WRITING,
    Keep,
    Manifest,
    begin_writing,
    check_ranks,
    find_best,
    list_checkpoints,
    name_of,
    newest_intact,
    publish,
    read_manifest,
    remove,
)
from train.engine.preflight import size_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        step: Finished steps.
        losses: Recent losses, for the guard.
        smoothed: Their mean; decides which checkpoint is the best.
    """

    step: int = 0
    losses: tuple[float, ...] = ()
    smoothed: float = float("inf")


def find_progress(folder: Path, identity: str, *, strategy: Strategy) -> Progress:
    """Where to go on: the newest intact checkpoint, or the beginning; for the main rank alone.

    Args:
        folder: `checkpoints/` of the stage.
        identity: Fingerprint of the training.
        strategy: What the ranks share.

    Raises:
        UserError: If the checkpoint was written by ranks that shared other things.
    """
    checkpoint = newest_intact(folder, identity)
    if checkpoint is None:
        return Progress()
    check_ranks(checkpoint, strategy.value, key="launch.strategy")
    manifest = read_manifest(checkpoint)
    return Progress(manifest.step, tuple(manifest.more["losses"]), manifest.more["smoothed"])


def load_checkpoint(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Loads the state of every rank.

    Raises:
        UserError: If the trained parameters are others.
    """
    sharded = accelerator.distributed_type.value == "DEEPSPEED"
    accelerator.load_state(str(folder / name_of(step)), **({"load_module_strict": False} if sharded else {}))


def save_checkpoint(
    accelerator: Accelerator, folder: Path, progress: Progress, *, identity: str, strategy: Strategy, keep: Keep
) -> None:
    """Writes `step-<step>/` under a temporary name, flushes it to disk, renames it, then removes what need not stay."""
    temporary = folder / WRITING
    if ranks.is_main():
        begin_writing(folder)
    ranks.wait()
    sharded = accelerator.distributed_type.value == "DEEPSPEED"
    accelerator.save_state(str(temporary), **({"exclude_frozen_parameters": True} if sharded else {}))
    ranks.wait()
    if ranks.is_main():
        more = {"losses": list(progress.losses), "smoothed": progress.smoothed}
        manifest = Manifest(
            identity=identity, step=progress.step, world=ranks.world_size(), strategy=strategy.value, more=more
        )
        publish(temporary, manifest, keep)
    ranks.wait()


def clear_finished(folder: Path, *, keep_best: bool) -> None:
    """After the stage: removes the checkpoints, or all but the best one."""
    best = find_best(folder) if keep_best else None
    if best is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for other in list_checkpoints(folder):
        if other != best:
            remove(other)
    log.info("The best checkpoint stays: %s.", best)


def check_disk(folder: Path, model: nn.Module, keep: Keep, *, key: str) -> str:
    """Refuses to start where the checkpoints would not fit: those that stay and the one being written.

    Args:
        folder: Where they go.
        model: Its trainable parameters are what they hold.
        keep: Which of them stay.
        key: The setting that says how many, for the message.

    Returns:
        What a checkpoint takes and how much is free, in words.

    Raises:
        UserError: Before the first step.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    each = sum(size_of(p) * (2 * p.element_size() + 8) for p in trained)  # weights, sharded again; AdamW's two moments
    number = max(1, keep.last + int(keep.best) + 1 - len(list_checkpoints(folder)))
    what = f"{number} checkpoints of {each / 2**20:.0f} MiB ({key}={keep.last})"
    free = check_space(make_dir(folder), number * each, what=what)
    return f"{each / 2**20:.0f} MiB at most; {free / 2**30:.1f} GiB are free"


def register_trainable_only(accelerator: Accelerator) -> None:
    """Makes checkpoints hold trainable parameters only: the frozen ones come from the base checkpoints."""

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        for number, model in enumerate(models):
            inner = accelerator.unwrap_model(model)
            with whole_parameters(inner):
                if accelerator.is_main_process:
                    save_file(trainable_state(inner), Path(folder) / f"trained-{number}.safetensors")
        weights.clear()

    def load(models: list[nn.Module], folder: str) -> None:
        for number, model in enumerate(models):
            load_trainable(accelerator.unwrap_model(model), load_file(Path(folder) / f"trained-{number}.safetensors"))
        models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name, on the CPU."""
    return {n: p.detach().cpu().contiguous().clone() for n, p in model.named_parameters() if p.requires_grad}


def load_trainable(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copies parameters by name.

    Raises:
        UserError: If names or shapes differ.
    """
    targets = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if targets.keys() != state.keys():
        raise UserError(
            f"The checkpoint's parameters differ: {sorted(targets.keys() ^ state.keys())[:3]} … Its base or code is "
            "another one: start again with resume=never."
        )
    for name, parameter in targets.items():
        if parameter.shape != state[name].shape:
            raise UserError(
                f"The checkpoint's {name} is {tuple(state[name].shape)}, the model's {tuple(parameter.shape)}: another "
                "architecture or vocabulary. Start again with resume=never."
            )
        parameter.data.copy_(state[name])
