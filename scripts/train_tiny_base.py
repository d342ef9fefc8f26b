"""python -m scripts.train_tiny_base run_dir=RUN [part=all|eddm|vision|language|mdlm] [seed=0] [resume=never].

Makes the checkpoints that preset=tiny starts from: RUN/eddm/base, for scripts.train_eddm, and RUN/mdlm/base, for
scripts.train_mdlm. part=vision and part=language may run side by side before part=eddm. Run it again to go on after an
interruption.
"""

from scripts.command import command
from train.tiny.config import TinyBaseConfig
from train.tiny.train import train_tiny_base


@command("train_tiny_base", TinyBaseConfig)
def main(config: TinyBaseConfig) -> None:
    """Trains the tiny bases."""
    train_tiny_base(config)


if __name__ == "__main__":
    main()
