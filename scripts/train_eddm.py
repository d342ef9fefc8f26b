"""[torchrun --nproc_per_node N] -m scripts.train_eddm run_dir=runs/demo [preset=paper] [resume=never] [optim.lr=…].

Reads RUN/ddqa/train.jsonl; writes RUN/eddm (adapter/, log.jsonl, config.json). preset=tiny starts from the base that
ships with the code. One process: python -m scripts.train_eddm. Run it again to go on after an interruption.
"""

from scripts.command import command
from train.eddm.config import EDDMConfig
from train.eddm.train import train_eddm


@command("train_eddm", EDDMConfig)
def main(config: EDDMConfig) -> None:
    """Trains the dialogue module."""
    train_eddm(config)


if __name__ == "__main__":
    main()
