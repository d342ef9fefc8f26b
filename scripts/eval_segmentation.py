"""python -m scripts.eval_segmentation dataset=<reader> data_root=DIR maps=DIR out=DIR  scores anomaly maps.

With run=RUN_DIR instead of maps= it evaluates EIAD; without dataset= and out=, on the run's own data into RUN/eval:
python -m scripts.eval_segmentation run=runs/demo [description=fixed|oracle|shuffled] [subset=decoys] [data=real]
Several processes: torchrun --nproc_per_node 2 -m scripts.eval_segmentation … (same figures).
"""

import json

from data.ranks import join_ranks
from data.run import open_run
from eval.report.results import write_results
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from scripts.command import command


@command("eval_segmentation", SegmentationConfig)
def main(config: SegmentationConfig) -> None:
    """Evaluates one MDLM or one folder of maps and prints its mean figures."""
    summary = evaluate_segmentation(config)
    if not join_ranks().is_main:
        return
    if not config.out:
        write_results(open_run(config.run))
    facts = {name: summary[name] for name in ("name", "convention", "resolution", "engine", "image_score")}
    print(json.dumps({**facts, **summary["mean"], "seconds": summary["seconds"]}))


if __name__ == "__main__":
    main()
