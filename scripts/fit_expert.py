"""python -m scripts.fit_expert dataset=mvtec_ad data_root=DIR out=DIR [expert=patchcore|precomputed].

Fits a vision expert on normal images, sets its gate on held-out ones, and writes both to `out`.
"""

from scripts.command import command
from train.experts.fit import FitExpertConfig, fit_expert


@command("fit_expert", FitExpertConfig)
def main(config: FitExpertConfig) -> None:
    """Fits a vision expert."""
    fit_expert(config)


if __name__ == "__main__":
    main()
