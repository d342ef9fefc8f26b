"""python -m scripts.eval_segmentation run=runs/demo [description=fixed|oracle|shuffled] [subset=decoys] [data=real].

Writes RUN/eval/segmentation_<name>.json, the anomaly maps beside it, and RUN/results.json.
"""

import json

from data.run import open_run
from eval.results import write_results
from eval.segmentation import SegmentationConfig, evaluate_segmentation
from scripts.command import command


@command("eval_segmentation", SegmentationConfig)
def main(config: SegmentationConfig) -> None:
    """Evaluates one MDLM and prints its mean figures."""
    summary = evaluate_segmentation(config)
    write_results(open_run(config.run))
    print(json.dumps({"name": summary["name"], "resolution": summary["resolution"], **summary["mean"]}))


if __name__ == "__main__":
    main()
