"""The audit before the first step: what will be trained, how it is spread, and whether the ranks agree."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError
from data.files import hash_value
from models.device import say_if_slow
from train.engine import ranks
from train.engine.identity import flatten

log = logging.getLogger(__name__)
ADAPTERS = {"lora_": "LoRA", "trainable_tokens": "token rows"}
SHOWN = 5


def begin(config: Any, timeout: float, *, use_gpu: bool = True) -> None:
    """How every training begins: the ranks meet, the main one alone talks from then on, and all have one configuration.

    Args:
        config: The configuration, a dataclass.
        timeout: Seconds that ranks wait for each other.
        use_gpu: Exchange tensors between GPUs, where there are any.

    Raises:
        UserError: If they do not meet, or were started with different settings.
    """
    ranks.meet(timeout, use_gpu=use_gpu)
    if not ranks.is_main():
        logging.getLogger().setLevel(logging.WARNING)
    check_same(flatten(asdict(config)), "configurations")


def check_same(settings: Mapping[str, Any], what: str) -> None:
    """Refuses ranks that were started with different settings or see different data.

    Args:
        settings: Flat settings of this rank.
        what: What they are, for the message.

    Raises:
        UserError: On every rank, naming what differs.
    """
    if len(set(ranks.gather(hash_value(settings)))) == 1:
        return
    everything = ranks.gather(dict(settings))
    first = everything[0]
    for number, other in enumerate(everything):
        names = sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name))
        if names:
            words = [f"{name}: {first.get(name)} on rank 0, {other.get(name)} on rank {number}" for name in names]
            raise UserError(
                f"The ranks have different {what}: {'; '.join(words[:SHOWN])}{' …' * (len(words) > SHOWN)}. "
                "Start all ranks by one command line, with the same code and files on every node."
            )
    raise UserError(f"The ranks have the same {what} in another order: use the same code and files on every node.")


def audit(
    model: nn.Module,
    *,
    name: str,
    strategy: str,
    batch: str,
    precision: str,
    remedy: str,
    device: Any,
    facts: Mapping[str, Any],
) -> None:
    """Prints what is about to be trained, on the main rank.

    Args:
        model: As it is trained.
        name: The stage.
        strategy: What the ranks share.
        batch: What a step trains on, in words.
        precision: Number format of the forward pass.
        remedy: The keys that make it float32.
        device: This rank's device.
        facts: More to print, such as the token id of [SEG].

    Raises:
        UserError: If nothing is trainable.
    """
    groups = count_trainable(model)
    if not groups:
        raise UserError(f"{name}: no parameter is trainable. Check the switches of the model.")
    devices = ranks.gather(str(device))
    if not ranks.is_main():
        return
    trained, frozen = sum(groups.values()), sum(size_of(p) for p in model.parameters() if not p.requires_grad)
    dtypes = {"trained": _dtypes(model, True), "frozen": _dtypes(model, False), "forward": precision}
    spread = f"{len(devices)} rank{'s' * (len(devices) > 1)} on {', '.join(sorted(set(devices)))}, {strategy}"
    log.info("%s: %s trained of %s parameters; %s", name, f"{trained:,}", f"{trained + frozen:,}", spread)
    log.info("  trained: %s", ", ".join(f"{group} {count:,}" for group, count in groups.items()))
    log.info("  numbers: %s", ", ".join(f"{key} {value}" for key, value in dtypes.items() if value))
    for key, value in {"batch": batch, **facts}.items():
        log.info("  %s: %s", key, value)
    say_if_slow(str(device), precision, remedy)


def count_trainable(model: nn.Module) -> dict[str, int]:
    """Trainable parameters by module: the first two names of the path, and the kind of adapter."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = ".".join(name.split(".")[:-1][:2]) or name
            kind = next((word for mark, word in ADAPTERS.items() if mark in name), "")
            counts[f"{group} {kind}".strip()] += size_of(parameter)
    return dict(counts)


def size_of(value: Tensor) -> int:
    """Numbers in a parameter, of all ranks' shards under ZeRO-3."""
    return int(getattr(value, "ds_numel", value.numel()))


def check_in_step(model: nn.Module) -> None:
    """Refuses to go on with ranks whose trained weights drifted apart: then they were never synchronised.

    Raises:
        UserError: On every rank.
    """
    if not ranks.is_distributed():
        return
    totals = [p.detach().double() for p in model.parameters() if p.requires_grad and not hasattr(p, "ds_id")]
    own = torch.stack([torch.stack([p.sum(), p.abs().sum()]) for p in totals]).cpu().tolist() if totals else []
    everyone = ranks.gather(own)
    if any(other != everyone[0] for other in everyone):
        raise UserError(
            "The ranks' trained weights differ: they do not train together. Start all of them by one launcher "
            "(torchrun), on machines of one kind, then again with resume=never."
        )


def _dtypes(model: nn.Module, trained: bool) -> str:
    found = Counter(str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.requires_grad is trained)
    return "+".join(sorted(found))
