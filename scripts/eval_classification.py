"""python -m scripts.eval_classification dataset=READER data_root=DIR expert=patchcore mllm=MODEL out=DIR.

Runs VELM's pipeline (expert, gate, outline, MLLM) and scores its classes; or scores the replies of a file:

    python -m scripts.eval_classification predictions=FILE classes=FILE dataset=mvtec_ac out=DIR [names=published]

Writes DIR/results.json (percent); the pipeline also DIR/replies.jsonl, the log it resumes from, and DIR/report.html.
"""

from eval.classification.evaluate import ClassificationConfig, run_classification
from scripts.command import command
from train.experts.fit import fit_missing_expert


@command("eval_classification", ClassificationConfig)
def main(config: ClassificationConfig) -> None:
    """Scores anomaly classification."""
    fit_missing_expert(config)
    run_classification(config)


if __name__ == "__main__":
    main()
