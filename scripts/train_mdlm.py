"""python -m scripts.train_mdlm run_dir=RUN [preset=tiny|paper] [description=eddm|fixed|oracle] [resume=never].

Trains the MDLM on the training images and what is said about them; writes RUN/mdlm/<description>/. preset=tiny starts
from the base that ships with the code. Run it again to go on after an interruption.
"""

from __future__ import annotations

from scripts.command import command
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.train import train_mdlm


@command("train_mdlm", TrainMDLMConfig)
def main(config: TrainMDLMConfig) -> None:
    """Runs the command."""
    train_mdlm(config)


if __name__ == "__main__":
    main()
