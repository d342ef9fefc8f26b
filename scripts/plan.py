"""python -m scripts.plan preset=paper gpus=8 gpu_gib=80 [json=true] [measure=true] [mdlm.loop.batch_size=16 …].

Predicts memory and time of both trainings of a preset for every strategy, says what fits and what to take.
"""

import tempfile

from scripts.command import command, compose_config
from train.eddm.config import EDDMConfig
from train.mdlm.config import TrainMDLMConfig
from train.plan.config import PlanConfig, flatten_overrides
from train.plan.plan import plan


@command("plan", PlanConfig)
def main(config: PlanConfig) -> None:
    """Plans both trainings as their own commands would compose them."""
    with tempfile.TemporaryDirectory() as run:
        chosen = [f"preset={config.preset}", f"run_dir={run}"]
        eddm = compose_config("train_eddm", EDDMConfig, [*chosen, *flatten_overrides(config.eddm)])
        mdlm = compose_config("train_mdlm", TrainMDLMConfig, [*chosen, *flatten_overrides(config.mdlm)])
        plan(config, eddm, mdlm)


if __name__ == "__main__":
    main()
