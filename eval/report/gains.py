"""Is a gain a gain? The differences between a run's evaluations, with intervals over images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.gains.bootstrap import BootstrapConfig
from eval.gains.evaluations import Evaluation, compare_evaluations

PAIRS = {"eddm": ("with_eddm", "without_eddm"), "decoys": ("oracle_decoys", "shuffled_decoys")}


def join_conventions(*summaries: Mapping[str, Any]) -> str:
    """By which convention evaluations were measured; several, in their order, where they differ."""
    return " / ".join(dict.fromkeys(summary["convention"] for summary in summaries))


def measure_gains(
    evaluations: Mapping[str, Evaluation], metrics: tuple[str, ...], config: BootstrapConfig
) -> dict[str, dict[str, Any]]:
    """The first evaluation of each pair minus the second, where both were run.

    Args:
        evaluations: By name.
        metrics: What is compared.
        config: How intervals are made.

    Returns:
        Pair → `left`, `right`, `convention`, `images`, `resamples`, `level`, `mean` (metric → `Gain.as_json`),
        `categories`, and `missing`: why there are no intervals.
    """
    found = {}
    for name, (left, right) in PAIRS.items():
        if left in evaluations and right in evaluations:
            gains = compare_evaluations(evaluations[left], evaluations[right], metrics, config)
            found[name] = {
                "left": left,
                "right": right,
                "convention": join_conventions(evaluations[left].summary, evaluations[right].summary),
                "images": evaluations[left].summary["images"]["total"],
                "resamples": 0 if gains.missing else config.resamples,
                "level": config.level,
                **gains.as_json(),
            }
    return found
