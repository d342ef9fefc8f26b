"""GoodsAD: packaged goods from a supermarket (Zhang et al., 2024)."""

from __future__ import annotations

from pathlib import Path

from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import Sample


def read_goods_ad(root: Path) -> list[Sample]:
    """Lists GoodsAD: MVTec AD's layout with `.jpg` images; the `.png` mask has the image's stem, or `_mask` after it.

    Args:
        root: Folder that holds `cigarette_box`, …, `food_package`.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return read_mvtec_layout(root, "goods_ad")
