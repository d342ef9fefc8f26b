"""python -m scripts.eval_expert expert_dir=DIR dataset=mvtec_ad data_root=DIR out=DIR [expert=patchcore].

Pixel and image metrics of a vision expert on images that it was not fitted on; writes DIR/expert.json and the maps.
"""

from eval.segmentation.expert import EvalExpertConfig, evaluate_expert
from scripts.command import command


@command("eval_expert", EvalExpertConfig)
def main(config: EvalExpertConfig) -> None:
    """Evaluates a vision expert."""
    evaluate_expert(config)


if __name__ == "__main__":
    main()
