from pathlib import Path

import cv2
import numpy as np
import pytest

from data.masks import MaskFile, decode_mask
from eval.inspection.results import Results


@pytest.mark.parametrize("size", [(4, 1_048_576), (70_000, 3)])
def test_pictures_of_a_line_scan_are_written_although_jpeg_cannot_hold_them(
    size: tuple[int, int], tmp_path: Path
) -> None:
    results, picture = Results(tmp_path), np.full((*size, 3), (250, 20, 20), np.uint8)
    overlay, thumbnail = results.write_overlay("line", picture), results.write_thumbnail("line", picture)
    mask = results.write_mask("line", np.ones(size, bool))
    shown = cv2.imread(str(tmp_path / overlay))
    assert max(shown.shape) == 65_500 and min(shown.shape[:2]) >= 1
    assert shown[..., 2].mean() > 200 > 100 > shown[..., 0].mean()  # red, in OpenCV's order
    assert max(cv2.imread(str(tmp_path / thumbnail)).shape) == 256
    assert decode_mask(MaskFile(tmp_path / mask)).sum() == size[0] * size[1]


def test_an_overlay_that_fits_keeps_its_size(tmp_path: Path) -> None:
    overlay = Results(tmp_path).write_overlay("a/b", np.zeros((30, 50, 3), np.uint8))
    assert overlay == "overlays/a/b.jpg" and cv2.imread(str(tmp_path / overlay)).shape == (30, 50, 3)
