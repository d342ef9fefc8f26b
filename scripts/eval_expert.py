"""python -m scripts.eval_expert expert=winclip|patchcore|… dataset=mvtec_ad data_root=DIR out=DIR [expert_dir=DIR].

python -m scripts.eval_expert expert=winclip|patchcore|ddad|… dataset=mvtec_ad data_root=DIR out=DIR shots=4 [seeds=3].
Pixel and image metrics of a vision expert on images that it was not fitted on; writes DIR/expert.json and the maps.
With shots= it is fitted first on as many sound images of each category, once for each seed: mean ± deviation in
DIR/results.json.
"""

from scripts.command import command
from train.experts.shots import ShotsConfig, evaluate_shots


@command("eval_expert", ShotsConfig)
def main(config: ShotsConfig) -> None:
    """Evaluates a vision expert."""
    evaluate_shots(config)


if __name__ == "__main__":
    main()
