"""python -m scripts.calibrate run=RUN|export=DIR|expert_dir=DIR normals=DIR|judgements=DIR [defects=DIR].

Takes a threshold at a stated rate (false_alarms=0.05) from sound photos that the model was not trained or fitted on,
and writes it to `calibration.json` beside the model, which stays as it is. `scripts.inspect`, `scripts.eval_expert` and
`scripts.eval_classification` go by it. Prints what to expect of fresh photos and, with defective ones, what is found.
"""

from eval.calibration.calibrate import CalibrateConfig, calibrate
from scripts.command import command


@command("calibrate", CalibrateConfig)
def main(config: CalibrateConfig) -> None:
    """Calibrates a run, an export or an expert."""
    print(calibrate(config).describe())


if __name__ == "__main__":
    main()
