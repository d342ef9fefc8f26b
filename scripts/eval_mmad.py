"""python -m scripts.eval_mmad data_root=DIR answers=FILE [mode=generate|likelihood|mmad-compat] [out=DIR].

Scores an answer log; with run=RUN_DIR or mllm=MODEL [backend=transformers|swift|api] it asks the model first. Writes
results.json, mmad.md, mmad.html and skipped.jsonl to out=; prints the mean figures as one line of JSON.
Several processes share the images: torchrun --nproc_per_node 2 -m scripts.eval_mmad …
"""

import json

from data.ranks import join_ranks
from eval.mmad.evaluate import EvalMMADConfig, evaluate_mmad
from scripts.command import command


@command("eval_mmad", EvalMMADConfig, aliases={"wording": "mmad_wording"})
def main(config: EvalMMADConfig) -> None:
    """Evaluates a model on MMAD."""
    results = evaluate_mmad(config)
    if not join_ranks().is_main:
        return
    print(json.dumps({name: results[name] for name in ("mode", "answered", "unanswered", "mean")}))


if __name__ == "__main__":
    main()
