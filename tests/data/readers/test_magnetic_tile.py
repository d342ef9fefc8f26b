from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.readers.magnetic_tile import read_magnetic_tile
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def write_tiles(root: Path) -> Path:
    for folder, value in (("MT_Crack", 255), ("MT_Free", 0)):
        (root / folder / "Imgs").mkdir(parents=True)
        cv2.imwrite(str(root / folder / "Imgs/x.jpg"), np.full((30, 20), 80, np.uint8))
        mask = np.zeros((30, 20), np.uint8)
        mask[5:10, 5:10] = value
        mask[4, 5:10] = value // 3  # a soft edge, below the threshold
        cv2.imwrite(str(root / folder / "Imgs/x.png"), mask)
    return root


def test_soft_edges_are_cut_at_half(tmp_path: Path) -> None:
    crack, free = read_magnetic_tile(write_tiles(tmp_path))
    assert (crack.defect, free.defect) == ("crack", None)
    assert load_mask(crack, load_image(crack.image).shape[:2]).sum() == 25


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    root = write_tiles(tmp_path)
    (root / "MT_Crack/Imgs/x.png").unlink()
    with pytest.raises(UserError, match=r"MT_Crack/Imgs/x\.png"):
        read_magnetic_tile(root)


def test_the_real_set(real_data: Path) -> None:
    source = Source(reader="magnetic_tile", root=str(real_data / "datasets/magnetic_tile"), skip_empty_masks=True)
    listing = load_samples([source])
    assert len(listing.samples) == 672
    assert [name.rsplit("/", 1)[1] for name, _ in listing.skipped] == ["exp3_num_45042.jpg", "exp4_num_352527.jpg"]
    for sample in [s for s in listing.samples if not s.is_normal][::10]:
        share = load_mask(sample, load_image(sample.image).shape[:2]).mean()
        assert 0 < share < 0.9
