"""python -m scripts.eval_classification predictions=FILE classes=FILE dataset=mvtec_ac out=DIR [names=published].

Scores class predictions per category; writes DIR/results.json (percent).
"""

from eval.classification import ClassificationConfig, run_classification
from scripts.command import command


@command("eval_classification", ClassificationConfig)
def main(config: ClassificationConfig) -> None:
    """Scores anomaly classification."""
    run_classification(config)


if __name__ == "__main__":
    main()
