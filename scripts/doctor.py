"""python -m scripts.doctor data=DIR [reader=NAME] [against=DIR2] [workers=N] [json=true] [out=FILE] [show=5].

python -m scripts.doctor weights=PRESET|saa [mdlm.mdlm.llava.path=DIR] [eddm.model.id=DIR] [hashes=false] [json=true].
Says which dataset lies at a path, or which checkpoints a preset starts from, whether they are whole, and for each
problem the file and the fix; exits 1 on errors.
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
    """Examines the checkpoints that the preset's own training commands would load, or those of a zero-shot expert."""
    from eval.segmentation.expert import EvalExpertConfig  # slow to import, and no dataset needs them
    from train.eddm.config import EDDMConfig
    from train.mdlm.config import TrainMDLMConfig
    from train.plan.config import flatten_overrides
    from train.plan.weights import diagnose_weights, wanted_by_saa, wanted_weights

    if config.weights == "saa":
        asked = ["expert=saa_plus", "dataset=DATASET", "data_root=DIR", "out=DIR"]
        asked += flatten_overrides(config.saa, "saa.")
        return diagnose_weights(config, wanted_by_saa(compose_config("eval_expert", EvalExpertConfig, asked).saa))
    chosen = [f"preset={config.weights}", "run_dir=RUN"]
    eddm = compose_config("train_eddm", EDDMConfig, [*chosen, *flatten_overrides(config.eddm)])
    mdlm = compose_config("train_mdlm", TrainMDLMConfig, [*chosen, *flatten_overrides(config.mdlm)])
    return diagnose_weights(config, wanted_weights(eddm, mdlm))


if __name__ == "__main__":
    main()
