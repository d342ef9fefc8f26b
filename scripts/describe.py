"""[torchrun --nproc_per_node N] -m scripts.describe run=runs/demo [part=train [only=drawn]] [mode=free] [folder=PATH].

Writes RUN/descriptions/<part or folder>.jsonl; what is there by the same model is kept. Several ranks share the images.
"""

from data.errors import UserError
from models.eddm.describe import DescribeConfig, Only, describe
from scripts.command import command, compose_config


@command("describe", DescribeConfig)
def main(config: DescribeConfig) -> None:
    """Describes images with the dialogue module."""
    describe(config, list_drawn(config) if config.only is Only.drawn else None)


def list_drawn(config: DescribeConfig) -> set[str]:
    """Ids of the images that the MDLM's training on the same data draws."""
    from data.source import load_samples  # slow to import, and most calls need none of it
    from train.mdlm.config import TrainMDLMConfig
    from train.mdlm.mix import drawn_ids
    from train.plan.config import flatten_overrides

    if config.part != "train" or config.folder or config.sources:
        raise UserError("only=drawn describes what scripts.train_mdlm draws: it goes with part=train and data= alone.")
    words = [f"preset={config.preset}", f"data={config.data.name}", f"run_dir={config.run}"]
    training = compose_config("train_mdlm", TrainMDLMConfig, [*words, *flatten_overrides(config.mdlm)])
    return drawn_ids(training, load_samples(training.data.train).samples)


if __name__ == "__main__":
    main()
