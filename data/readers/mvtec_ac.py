"""MVTec-AC: MVTec AD refined for the classification of anomalies (VELM, Sec. 3.3.1)."""

from __future__ import annotations

from pathlib import Path

from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import Sample


def read_mvtec_ac(root: Path) -> list[Sample]:
    """Lists MVTec-AC, as released or as `scripts.build_ac` writes it: MVTec AD's layout.

    The release may hold `test` alone: its training images are MVTec AD's. Class names stay the release's, without
    underscores, because the class descriptions of VELM are keyed by them.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return read_mvtec_layout(root, "mvtec_ac")
