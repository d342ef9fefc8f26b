"""Two segmentation evaluations against each other, from what they left on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.gains.bootstrap import BootstrapConfig, Gains, Side, compare_sides
from eval.gains.tally_file import TALLIES, read_tallies


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One segmentation evaluation.

    Attributes:
        summary: What it found, as written.
        store: Folder of its maps and of the counts of each image.
    """

    summary: Mapping[str, Any]
    store: Path

    def side(self) -> Side:
        """Its figures and counts.

        Raises:
            UserError: If the counts are damaged.
        """
        return Side(
            mean=self.summary["mean"],
            categories=self.summary["categories"],
            tallies=read_tallies(self.store / TALLIES),
            limit=self.summary["config"]["aupro_limit"],
        )


def compare_evaluations(
    left: Evaluation, right: Evaluation, metrics: tuple[str, ...], config: BootstrapConfig
) -> Gains:
    """Left minus right in points; where intervals cannot be made, `missing` says why.

    Raises:
        UserError: If counts are damaged.
    """
    return compare_sides(left.side(), right.side(), metrics, config)
