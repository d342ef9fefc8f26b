"""All that decides what comes out of EDDM's training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.files import hash_value
from models.weights.trust import Admitted
from train.eddm.config import EDDMConfig
from train.engine.identity import Identity, settings_of
from train.engine.stage import name_checkpoint

HARMLESS = (  # how training goes along, how fast and in how much memory, not what comes out
    *("run_dir", "preset", "base", "resume", "tracking", "model.attn_impl", "model.trust_remote_code"),
    *("optim.batch_size", "optim.gradient_checkpointing", "optim.deepspeed", "optim.use_cpu", "optim.workers"),
    *("optim.save_steps", "optim.keep", "optim.log_steps", "optim.loss_limit"),
)
BY_CONTENT = ("questions", "hold_out", "model.id")  # what they hold, not where it lies


def identify(config: EDDMConfig, rows: list[dict[str, Any]], base: Admitted) -> Identity:
    """Settings, the weights of the base, and the questions with what their images show.

    Args:
        config: The configuration.
        rows: The DDQA rows to train on, in order.
        base: The checkpoint that `config` names, as it was found.
    """
    settings = settings_of(asdict(config), without=(*HARMLESS, *BY_CONTENT))
    settings["model.id"] = name_checkpoint(config.model.id)
    if base.revision != config.model.revision:
        settings["model.revision"] = str(base.revision)  # the commit that a branch, or nothing, has led to
    if base.code is not None:
        settings["model.code"] = base.code
    settings["questions"] = f"{len(rows)} rows, {_hash_rows(rows)[:16]}"
    return Identity(settings)


def _hash_rows(rows: list[dict[str, Any]]) -> str:
    images = hash_files({Path(image) for row in rows for image in row["images"]})
    return hash_value(
        [
            [row["messages"], row.get("objects"), row.get("defect"), [images[Path(image)] for image in row["images"]]]
            for row in rows
        ]
    )
