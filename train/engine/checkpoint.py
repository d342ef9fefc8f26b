"""Checkpoints of a training stage: complete or not there, checked before use, and of this very run.

    checkpoints/identity.json       settings and data that the checkpoints belong to
    checkpoints/step-000050/        accelerate's state, the trained weights, and `manifest.json`, which is written last

The manifest names every file with its size and hash. The states are torch-serialised and are read from the run's own
directory alone; exports never hold them.
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
from data.files import hash_file, make_dir, read_json, write_json
from train.engine import ranks
from train.engine.durable import check_space, replace_durably, sync_tree
from train.engine.identity import Identity, describe_data_change, describe_settings_change
from train.engine.launch import Strategy, whole_parameters
from train.engine.resume import Resume

log = logging.getLogger(__name__)
MANIFEST, IDENTITY, WRITING, REMOVING = "manifest.json", "identity.json", "writing", "removing"


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


@dataclass(frozen=True, slots=True)
class Keep:
    """Which checkpoints stay: the newest `last`, and the one with the smallest smoothed loss."""

    last: int = 2
    best: bool = False


def find_progress(folder: Path, identity: Identity, *, resume: Resume, strategy: Strategy) -> Progress:
    """Where to go on: the newest intact checkpoint of this run. The rest is cleared away; for the main rank alone.

    Args:
        folder: `checkpoints/` of the stage.
        identity: What the run is made of now.
        resume: `never` throws every checkpoint away.
        strategy: What the ranks share.

    Raises:
        UserError: If the checkpoints belong to other data, or to ranks that shared other things.
    """
    clear_leftovers(folder)
    found = sorted(folder.glob("step-*"), reverse=True)
    if resume is Resume.never or not _belongs(folder, identity, found):
        for old in found:
            _remove(old)
        make_dir(folder)
        write_json(folder / IDENTITY, identity.as_json())
        return Progress()
    for checkpoint in found:
        problem = find_damage(checkpoint)
        if problem is None:
            return _read_progress(checkpoint, strategy)
        log.warning("Damaged, set aside, and the one before it taken: %s (%s).", checkpoint, problem)
        _set_aside(checkpoint)
    if found:
        log.warning("No intact checkpoint is left in %s: starting again.", folder)
    return Progress()


def _belongs(folder: Path, identity: Identity, found: list[Path]) -> bool:
    """Whether the checkpoints in a folder are those of this run.

    Raises:
        UserError: If they are, but the data changed since.
    """
    if not found or not (folder / IDENTITY).is_file():
        return False
    known = Identity.from_json(read_json(folder / IDENTITY))
    if known.settings != identity.settings:
        log.info("Starting again: %s since %s.", describe_settings_change(known, identity), found[0])
        return False
    if list(known.data.items()) != list(identity.data.items()):
        raise UserError(
            f"The training data changed since the checkpoint {found[0]}: {describe_data_change(known, identity)}. "
            "Put the data back to go on, or start again with resume=never."
        )
    return True


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, compared with its manifest; None if it is intact."""
    try:
        manifest = read_json(checkpoint / MANIFEST)
    except UserError as error:
        return str(error)
    for name, (size, digest) in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if hash_file(path) != digest:
            return f"the bytes of {name} changed"
    return None


def _read_progress(checkpoint: Path, strategy: Strategy) -> Progress:
    manifest = read_json(checkpoint / MANIFEST)
    written, now = (manifest["strategy"], manifest["ranks"]), (strategy.value, ranks.world_size())
    if written != now and (written[0], now[0]) != (Strategy.ddp, Strategy.ddp):
        raise UserError(
            f"{checkpoint} was written by {written[1]} ranks with launch.strategy={written[0]}; this run has {now[1]} "
            f"with {now[0]}, and ZeRO's shards fit no other. Start it as before, or again with resume=never."
        )
    if written != now:
        log.info("%s is by %d ranks, now there are %d: losses agree up to rounding.", checkpoint, written[1], now[1])
    return Progress(manifest["step"], tuple(manifest["losses"]), manifest["smoothed"])


def load_checkpoint(accelerator: Accelerator, folder: Path, step: int) -> None:
    """Loads the state of every rank.

    Raises:
        UserError: If the trained parameters are others.
    """
    sharded = accelerator.distributed_type.value == "DEEPSPEED"
    accelerator.load_state(str(folder / name_of(step)), **({"load_module_strict": False} if sharded else {}))


def save_checkpoint(
    accelerator: Accelerator, folder: Path, progress: Progress, *, strategy: Strategy, keep: Keep
) -> None:
    """Writes `step-<step>/` under a temporary name, flushes it to disk, renames it, then removes what need not stay."""
    final, temporary = folder / name_of(progress.step), folder / WRITING
    if ranks.is_main():
        make_dir(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    ranks.wait()
    sharded = accelerator.distributed_type.value == "DEEPSPEED"
    accelerator.save_state(str(temporary), **({"exclude_frozen_parameters": True} if sharded else {}))
    ranks.wait()
    if ranks.is_main():
        complete(temporary, final, progress, strategy)
        prune(folder, keep)
    ranks.wait()


def complete(temporary: Path, final: Path, progress: Progress, strategy: Strategy) -> None:
    """Turns a written directory into a checkpoint: flush, manifest, flush, rename."""
    files = sync_tree(temporary)
    listed = {path.relative_to(temporary).as_posix(): [path.stat().st_size, hash_file(path)] for path in files}
    manifest = {
        "step": progress.step,
        "losses": list(progress.losses),
        "smoothed": progress.smoothed,
        "strategy": strategy.value,
        "ranks": ranks.world_size(),
        "files": listed,
    }
    write_json(temporary / MANIFEST, manifest)
    if final.exists():  # a damaged one of the same step
        _remove(final)
    replace_durably(temporary, final)


def prune(folder: Path, keep: Keep) -> None:
    """Removes the checkpoints that need not stay."""
    found = sorted(folder.glob("step-*"))
    staying = set(found[-max(1, keep.last) :])
    whole = [path for path in found if (path / MANIFEST).is_file()]
    if keep.best and whole:
        staying.add(min(whole, key=lambda path: read_json(path / MANIFEST)["smoothed"]))
    for path in found:
        if path not in staying:
            _remove(path)


def clear_leftovers(folder: Path) -> None:
    """Removes what an interrupted write or removal left behind."""
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    shutil.rmtree(folder / REMOVING, ignore_errors=True)


def _remove(checkpoint: Path) -> None:
    """Removes a checkpoint; one that is half removed no longer looks like one."""
    going = checkpoint.parent / REMOVING
    shutil.rmtree(going, ignore_errors=True)
    checkpoint.rename(going)
    shutil.rmtree(going)


def clear_finished(folder: Path, *, keep_best: bool) -> None:
    """After the stage: removes the checkpoints, or all but the best one."""
    if keep_best and folder.is_dir():
        best = min(folder.glob("step-*"), key=lambda path: read_json(path / MANIFEST)["smoothed"])
        for other in folder.glob("step-*"):
            if other != best:
                _remove(other)
        log.info("The best checkpoint stays: %s.", best)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _set_aside(checkpoint: Path) -> None:
    """Keeps a damaged checkpoint for whoever wants to look, out of the way of the others."""
    aside = checkpoint.with_name(f"damaged-{checkpoint.name}")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.rename(aside)


def check_disk(folder: Path, model: nn.Module, keep: Keep) -> None:
    """Refuses to start where the checkpoints would not fit: those that stay and the one being written.

    Raises:
        UserError: Before the first step.
    """
    trained = sum(p.numel() * max(4, p.element_size()) for p in model.parameters() if p.requires_grad)
    each = 4 * trained  # weights, again in a sharded state, and AdamW's two moments
    number = max(1, keep.last + int(keep.best) + 1 - len(list(folder.glob("step-*"))))
    what = f"{number} checkpoints of {each / 2**20:.0f} MiB (loop.keep_last={keep.last})"
    check_space(make_dir(folder), number * each, what=what)


def name_of(step: int) -> str:
    """Directory of the checkpoint after a step."""
    return f"step-{step:06d}"


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
