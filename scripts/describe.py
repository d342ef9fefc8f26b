"""python -m scripts.describe run=runs/demo [part=train] [mode=free] [folder=PATH].

Writes RUN/descriptions/<part or folder>.jsonl; what is there by the same model is kept.
"""

from models.eddm.describe import DescribeConfig, describe
from scripts.command import command


@command("describe", DescribeConfig)
def main(config: DescribeConfig) -> None:
    """Describes images with the dialogue module."""
    describe(config)


if __name__ == "__main__":
    main()
