"""python -m scripts.fit_expert images=FOLDER out=DIR [judgements=DIR] [false_alarms=0.05] [good=NAME].

python -m scripts.fit_expert dataset=mvtec_ad data_root=DIR out=DIR [expert=patchcore|precomputed].
Fits a vision expert on normal images and writes it to `out`: on your own photos with a threshold at a stated rate of
false alarms, on a dataset with a gate from held-out images.
"""

from scripts.command import command
from train.experts.fit import FitExpertConfig, fit_expert


@command("fit_expert", FitExpertConfig)
def main(config: FitExpertConfig) -> None:
    """Fits a vision expert."""
    fit_expert(config)


if __name__ == "__main__":
    main()
