"""Trains the checkpoints that the tiny preset starts from, in place of those that others download.

Writes `RUN/eddm/base` and `RUN/mdlm/base`. The trainings of the adapters read them by their paths, as they would any
other checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.files import make_dir
from data.run import Run
from train.engine import ranks
from train.engine.launch import check_launch
from train.engine.preflight import begin
from train.engine.stage import alone
from train.engine.stop import Stop, stopping
from train.mdlm.config import RunConfig
from train.tiny import eddm, mdlm
from train.tiny.config import BasePart, TinyBaseConfig


def train_tiny_base(config: TinyBaseConfig) -> None:
    """Trains what `config.part` names; what is finished is skipped, what was interrupted goes on.

    Raises:
        UserError: If several ranks are to train EDDM's base, or another process trains the same.
    """
    check_launch(config.launch)
    begin(config, config.launch.timeout)
    run = Run(Path(config.run_dir))
    if config.part is not BasePart.mdlm:
        if ranks.world_size() > 1:
            raise UserError("EDDM's base is trained by one process. Start it without a launcher, or set part=mdlm.")
        with stopping() as stop:
            _train_eddm(config, run, stop)
    if config.part in (BasePart.mdlm, BasePart.all):
        how = RunConfig(tracking=config.tracking, launch=config.launch)
        folder = run.mdlm / "base"
        with alone(folder):
            mdlm.train_base(config.mdlm, folder=folder, seed=config.seed, run=how, resume=config.resume)
    ranks.leave()


def _train_eddm(config: TinyBaseConfig, run: Run, stop: Stop) -> None:
    folder, seed, resume = make_dir(run.eddm) / "base", config.seed, config.resume
    if config.part in (BasePart.language, BasePart.vision):
        part = eddm.Part(config.part.value)
        with alone(eddm.parts_of(folder) / part):
            eddm.train_part(config.eddm, folder, part, seed=seed, resume=resume, stop=stop)
    else:
        with alone(folder, *(eddm.parts_of(folder) / part for part in eddm.Part)):
            eddm.train_base(config.eddm, folder, seed=seed, log_to=run.eddm / "log.jsonl", resume=resume, stop=stop)
