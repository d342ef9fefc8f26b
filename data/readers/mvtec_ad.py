"""MVTec AD (Bergmann et al., 2019), and any dataset in its layout."""

from __future__ import annotations

from pathlib import Path

from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import Sample


def read_mvtec_ad(root: Path) -> list[Sample]:
    """Lists MVTec AD. The mask of `test/<defect>/000.png` is `ground_truth/<defect>/000_mask.png`.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return read_mvtec_layout(root, "mvtec_ad")
