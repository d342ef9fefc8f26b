"""Trains the checkpoints that the tiny preset starts from, in place of those that others download.

Writes `RUN/eddm/base` and `RUN/mdlm/base`. The trainings of the adapters read them by their paths, as they would any
other checkpoint.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from data.errors import UserError
from data.files import hash_value, make_dir, read_json, write_json
from data.run import Run
from train.engine import ranks
from train.engine.identity import flatten
from train.engine.launch import check_launch
from train.engine.preflight import check_same
from train.engine.progress import LogRows
from train.engine.resume import Resume
from train.engine.stop import Stop, stopping
from train.mdlm.config import RunConfig
from train.tiny import eddm, mdlm
from train.tiny.config import BasePart, TinyBaseConfig

log = logging.getLogger(__name__)


def train_tiny_base(config: TinyBaseConfig) -> None:
    """Trains what `config.part` names; what is finished is skipped, what was interrupted goes on.

    Raises:
        UserError: If several ranks are to train EDDM's base.
    """
    check_launch(config.launch)
    ranks.meet(config.launch.timeout)
    if not ranks.is_main():
        logging.getLogger().setLevel(logging.WARNING)  # the main rank tells everything once
    check_same(flatten(asdict(config)), "configurations")
    run = Run(Path(config.run_dir))
    if config.part is not BasePart.mdlm:
        if ranks.world_size() > 1:
            raise UserError("EDDM's base is trained by one process. Start it without a launcher, or set part=mdlm.")
        with stopping() as stop:
            _train_eddm(config, run, stop)
    if config.part in (BasePart.mdlm, BasePart.all):
        how = RunConfig(tracking=config.tracking, launch=config.launch, resume=config.resume)
        mdlm.train_base(config.mdlm, folder=run.mdlm / "base", seed=config.seed, run=how)
    ranks.leave()


def _train_eddm(config: TinyBaseConfig, run: Run, stop: Stop) -> None:
    folder, stamp, resume = make_dir(run.eddm) / "base", run.eddm / "base.json", config.resume is Resume.auto
    wanted = hash_value([asdict(config.eddm), config.seed])
    finished = stamp.is_file() and read_json(stamp).get("fingerprint") == wanted
    if finished and (folder / "model.safetensors").is_file():
        eddm.forget_parts(folder)
        log.info("EDDM base: already trained with this configuration")
        return
    if config.part in (BasePart.language, BasePart.vision):
        eddm.train_part(config.eddm, folder, eddm.Part(config.part.value), seed=config.seed, resume=resume, stop=stop)
        return
    if stamp.is_file():
        log.info("EDDM base: %s is of another configuration: training anew", folder)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    logged = LogRows(run.eddm / "log.jsonl", stage="base")
    eddm.train_base(config.eddm, folder, seed=config.seed, row=logged.add, resume=resume, stop=stop)
    logged.flush()
    write_json(stamp, {"fingerprint": wanted, "config": asdict(config.eddm), "seed": config.seed})
    eddm.forget_parts(folder)
    log.info("EDDM base: trained in %.0f s", time.monotonic() - started)
