"""python -m scripts.make_synthetic run_dir=RUN.

Draws the generated factory: `RUN/data/seen` and `RUN/data/unseen` in the MVTec AD layout.
"""

from data.factory.synthetic import SyntheticConfig, make_factory
from scripts.command import command


@command("make_synthetic", SyntheticConfig)
def main(config: SyntheticConfig) -> None:
    """Draws both dataset roots."""
    make_factory(config)


if __name__ == "__main__":
    main()
