"""The folder in which EDDM's adapter is trained: whose checkpoints are in it, and may they be thrown away."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

from data.errors import UserError
from data.files import make_dir, write_json
from train.eddm.checkpoints import newest_intact
from train.eddm.config import EDDMConfig
from train.engine.identity import Identity, describe_settings_change, flatten
from train.engine.resume import Resume

log = logging.getLogger(__name__)
STAMP = "settings.json"
DATA = ("questions", "rows")
HARMLESS = (  # change how training goes along, not what comes out
    *("run_dir", "questions", "preset", "resume", "tracking"),
    *("optim.save_steps", "optim.keep", "optim.log_steps", "optim.loss_limit", "optim.workers"),
)


def describe_settings(config: EDDMConfig) -> dict[str, str]:
    """Everything that decides what comes out of the training, flat, by dotted name."""
    settings = {name: value for name, value in flatten(asdict(config)).items() if name not in HARMLESS}
    return settings | {"model.id": settings["model.id"].replace(config.run_dir, "RUN")}  # a moved run stays the same


def claim_work(work: Path, settings: dict[str, str], resume: Resume) -> None:
    """Leaves `work` there for these settings: with the checkpoints of an interrupted run of them, or empty.

    Args:
        work: The folder.
        settings: What `describe_settings` says, with `questions` (their hash) and `rows` (their number).
        resume: Whether to go on.

    Raises:
        UserError: If `work` holds intact checkpoints of other settings or data and `resume` is not `never`.
    """
    stamp = work / STAMP
    before = json.loads(stamp.read_text()) if stamp.is_file() else None
    if resume is Resume.never and work.exists():
        log.info("EDDM LoRA: resume=never, unfinished work in %s is thrown away", work)
    elif before == settings:
        return
    elif work.exists() and (checkpoint := newest_intact(work)) is not None:
        raise UserError(
            f"{checkpoint.path} belongs to another training: {_compare(before or {}, settings)}. "
            "Restore that, or throw the unfinished training away with resume=never."
        )
    elif work.exists():
        log.info("EDDM LoRA: %s holds no checkpoint of these settings and data: starting from the beginning", work)
    shutil.rmtree(work, ignore_errors=True)
    write_json(make_dir(work) / STAMP, settings)


def _compare(before: dict[str, str], now: dict[str, str]) -> str:
    """What has changed, in words."""
    old, new = (Identity({name: text for name, text in one.items() if name not in DATA}) for one in (before, now))
    words = describe_settings_change(old, new)
    if any(before.get(name) != now.get(name) for name in DATA):
        counts = before.get("rows", "?"), now.get("rows", "?")
        change = "other questions in their place" if counts[0] == counts[1] else "not the same"
        data = f"it had {counts[0]} questions, now there are {counts[1]} ({change})"
        words = f"{data}; {words}" if words else data
    return words
