"""python -m scripts.train_eddm run_dir=runs/demo [preset=paper] [optim.lr=…].

Reads RUN/ddqa/train.jsonl; writes RUN/eddm (base/ with preset=tiny, adapter/, log.jsonl, config.json).
"""

from scripts.command import command
from train.eddm import EDDMConfig, train_eddm


@command("train_eddm", EDDMConfig)
def main(config: EDDMConfig) -> None:
    """Trains the dialogue module."""
    train_eddm(config)


if __name__ == "__main__":
    main()
