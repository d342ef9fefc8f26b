from pathlib import Path
from typing import Any

import cv2
import pytest

from data.contact_sheet import OUTLINE, DatasetSheetConfig, write_dataset_sheet
from data.errors import UserError
from data.sample import load_image


def make_config(root: Path, out: Path, **changes: Any) -> DatasetSheetConfig:
    return DatasetSheetConfig(
        dataset="mvtec_ad", data_root=str(root), out=str(out), **{"tile": 64, "columns": 2, **changes}
    )


def test_every_category_and_defect_gets_a_row_with_its_masks(write_mvtec: Any, tmp_path: Path) -> None:
    rows = write_dataset_sheet(make_config(write_mvtec(), tmp_path / "new" / "sheet.png"))
    sheet = load_image(tmp_path / "new" / "sheet.png")
    assert rows >= 2 and sheet.shape[:2] == (rows * (64 + 24), 2 * (2 * 64 + 4))
    assert (sheet == OUTLINE).all(-1).any()


def test_a_sample_without_a_usable_mask_is_shown_all_the_same(write_mvtec: Any, tmp_path: Path) -> None:
    root = write_mvtec()
    for mask in root.glob("*/ground_truth/*/*.png"):
        cv2.imwrite(str(mask), load_image(mask) * 0)
    write_dataset_sheet(make_config(root, tmp_path / "sheet.png"))
    assert not (load_image(tmp_path / "sheet.png") == OUTLINE).all(-1).any()


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="columns=0"):
        write_dataset_sheet(make_config(tmp_path, tmp_path / "x.png", columns=0))
