"""VisA-AC: VisA refined for the classification of anomalies (VELM, Sec. 3.3.2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import Sample


def read_visa_ac(root: Path) -> list[Sample]:
    """Lists VisA-AC, as released or as `scripts.build_ac` writes it: MVTec AD's layout.

    The release may hold `test` alone: its training images are VisA's. Class names keep the release's spelling
    (`melded`, `particals`), because the class descriptions of VELM are keyed by them; hyphens become spaces.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return [
        replace(sample, defect=sample.defect.replace("-", " ")) if sample.defect else sample
        for sample in read_mvtec_layout(root, "visa_ac")
    ]
