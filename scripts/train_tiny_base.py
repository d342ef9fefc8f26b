"""python -m scripts.train_tiny_base run_dir=RUN [part=all|eddm|vision|language|mdlm|ship] [seed=0] [resume=never].

Makes anew the checkpoints that ship with the code: RUN/eddm/base and RUN/mdlm/base, which scripts.train_eddm,
scripts.train_mdlm and scripts.run_all start from with base=train. part=vision and part=language may run side by side
before part=eddm. Run it again to go on after an interruption. part=ship copies the bases that are finished, or a run
that was trained on shipped ones, with their cards to models/tiny/checkpoints.
"""

from pathlib import Path

from data.run import Run
from scripts.command import command
from train.ship.ship import ship
from train.tiny.config import BasePart, TinyBaseConfig
from train.tiny.train import train_tiny_base


@command("train_tiny_base", TinyBaseConfig)
def main(config: TinyBaseConfig) -> None:
    """Trains the tiny bases, or ships what is trained."""
    if config.part is BasePart.ship:
        ship(Run(Path(config.run_dir)), config.ship)
    else:
        train_tiny_base(config)


if __name__ == "__main__":
    main()
