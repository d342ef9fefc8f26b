"""Table III of EIAD: MMAD."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import UserError
from eval.mmad.evaluate import EvalMMADConfig, evaluate_mmad
from eval.tables.comparison import Comparison, Ours, compare
from eval.tables.config import ReproduceConfig
from eval.tables.published import PublishedTable

OWN = {"eiad": True, "minicpm_v_2_6": False}  # row → whether EDDM's adapter is used


def reproduce_mmad(config: ReproduceConfig, table: PublishedTable) -> Comparison:
    """EIAD and its base from `run`, 0-shot; any other model from its answer log."""
    ours = {}
    for method in dict.fromkeys([*table.rows, *config.answers]):
        if method == "random_chance":
            continue
        try:
            results = answer_mmad(config, method)
        except UserError as error:
            ours[method] = Ours(missing=str(error), title=method)
            continue
        ours[method] = Ours(
            values={column: results["mean"][column] for column in table.columns},
            weights=" + ".join(part for part in (results["model"], results["adapter"]) if part) or "not in the log",
            resolution="chosen by the model",
            definition=f"{results['mode']}, {results['answered']} of {results['questions']} questions, "
            f"mean over {len(results['datasets'])} datasets{_setting(results)}",
            title=method,
        )
    return compare(table, ours)


def answer_mmad(config: ReproduceConfig, method: str) -> dict[str, Any]:
    """Results of one row, as `scripts.eval_mmad` writes them.

    Raises:
        UserError: If MMAD, the weights or the answer log is missing.
    """
    root = config.root("mmad")
    settings: dict[str, Any] = {}
    if method in config.answers:
        settings["answers"] = config.answers[method]
    elif method in OWN:
        settings |= {"run": config.need_run(), "use_adapter": OWN[method]}
    else:
        raise UserError(
            f"Answers are missing. Ask the model: python -m scripts.eval_mmad data_root={root} mllm=MODEL "
            f"mode=generate out=DIR; then give +answers.{method}=DIR/answers.jsonl."
        )
    return evaluate_mmad(
        EvalMMADConfig(
            data_root=str(root),
            wording=config.wording,
            mode=config.mode,
            trust_remote_code=config.trust_remote_code,
            device=config.device,
            precision=config.precision,
            out=str(Path(config.out) / "mmad" / method),
            **settings,
        )
    )


def _setting(results: dict[str, Any]) -> str:
    return f", setting {results['setting']}" if results["setting"] else ""
