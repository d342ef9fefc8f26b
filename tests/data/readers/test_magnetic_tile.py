from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.magnetic_tile import read_magnetic_tile
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def test_soft_edges_are_cut_at_half(write_tree) -> None:
    crack, free = read_magnetic_tile(write_tree("magnetic_tile"))
    assert (crack.defect, free.defect) == ("crack", None)
    assert load_mask(crack, load_image(crack.image).shape[:2]).sum() == 25


def test_a_missing_mask_is_named(write_tree) -> None:
    root = write_tree("magnetic_tile")
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
