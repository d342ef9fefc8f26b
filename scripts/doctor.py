"""python -m scripts.doctor data=DIR [reader=NAME] [against=DIR2] [workers=N] [json=true] [out=FILE] [show=5].

python -m scripts.doctor weights=PRESET|clip|saa [mdlm.mdlm.llava.path=DIR] [clip.checkpoint=FILE] [hashes=false].
Says which dataset lies at a path, or which checkpoints a preset or a zero-shot expert starts from, whether they are
whole, and for each problem the file and the fix; exits 1 on errors.
"""

import sys

from data.doctor.examine import DoctorConfig, diagnose
from scripts.command import command, compose_config


@command("doctor", DoctorConfig, aliases={"data": "folder", "against": "against", "out": "out", "cache": "cache"})
def main(config: DoctorConfig) -> None:
    """Examines one dataset, or the weights of one preset."""
    if not (diagnose(config) if config.weights is None else examine_preset(config)):
        sys.exit(1)


def examine_preset(config: DoctorConfig) -> bool:
    """Examines the checkpoints that a preset's own training commands would load, or those of the zero-shot experts."""
    from models.weights.wanted import wanted_by_expert  # slow to import, and no dataset needs them
    from train.eddm.config import EDDMConfig
    from train.experts.shots import ShotsConfig
    from train.mdlm.config import TrainMDLMConfig
    from train.plan.config import flatten_overrides
    from train.plan.weights import EXPERTS, diagnose_weights, wanted_weights

    if config.weights in EXPERTS:
        expert = EXPERTS[config.weights]
        asked = [f"expert={expert}", "dataset=DATASET", "data_root=DIR", "out=DIR"]
        asked += [*flatten_overrides(config.clip, "clip."), *flatten_overrides(config.saa, "saa.")]
        sees = compose_config("eval_expert", ShotsConfig, asked)
        return diagnose_weights(config, wanted_by_expert(expert, sees.clip, sees.saa))
    chosen = [f"preset={config.weights}", "run_dir=RUN"]
    eddm = compose_config("train_eddm", EDDMConfig, [*chosen, *flatten_overrides(config.eddm)])
    mdlm = compose_config("train_mdlm", TrainMDLMConfig, [*chosen, *flatten_overrides(config.mdlm)])
    return diagnose_weights(config, wanted_weights(eddm, mdlm))


if __name__ == "__main__":
    main()
