"""Two segmentation evaluations against each other, from what they left on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.gains.bootstrap import BootstrapConfig, Gains, Side, compare_sides
from eval.gains.gain import Gain
from eval.gains.tally_file import TALLIES, read_tallies

PIXELS = ("resolution", "input_size", "crop", "mask_rule", "smoothing")  # settings that change a pixel's figures


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One segmentation evaluation.

    Attributes:
        summary: What it found, as written.
        store: Folder of its maps and of the counts of each image.
    """

    summary: Mapping[str, Any]
    store: Path

    @property
    def image_score(self) -> tuple[str, float | None]:
        """How an image's score came from its map."""
        kind = self.summary["image_score"]
        return kind, self.summary["config"]["score_fraction"] if kind == "top_mean" else None

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

    What was measured by different settings has no difference: pixels at another resolution, image scores of another
    kind.

    Raises:
        UserError: If counts are damaged.
    """
    told = [side.summary["config"] for side in (left, right)]
    stated = [name for name in PIXELS if all(name in one for one in told)]  # evaluations of older versions have fewer
    if unlike := [name for name in stated if told[0][name] != told[1][name]]:
        return Gains(dict.fromkeys(metrics, Gain()), {}, f"they were measured with another {', '.join(unlike)}")
    gains = compare_sides(left.side(), right.side(), metrics, config)
    if left.image_score != right.image_score:
        for found in (gains.mean, *gains.categories.values()):
            found |= {name: Gain() for name in metrics if name.startswith("image_")}
    return gains
