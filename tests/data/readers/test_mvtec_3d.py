import pytest

from data.errors import UserError
from data.readers.mvtec_3d import read_mvtec_3d


def test_reads_the_colour_part(write_tree) -> None:
    samples = read_mvtec_3d(write_tree("mvtec_3d"))
    assert [(s.split, s.image.parts[-3:], s.defect) for s in samples] == [
        ("train", ("good", "rgb", "000.png"), None),
        ("validation", ("good", "rgb", "000.png"), None),
        ("test", ("good", "rgb", "000.png"), None),
        ("test", ("hole", "rgb", "000.png"), "hole"),
    ]
    assert samples[-1].mask.path.parts[-2:] == ("gt", "000.png")


def test_missing_parts_are_named(write_tree) -> None:
    root = write_tree("mvtec_3d")
    (root / "cable_gland/test/hole/gt/000.png").rename(root / "cable_gland/test/hole/gt/001.png")
    with pytest.raises(UserError, match=r"Image without its mask: .*hole/rgb/000\.png needs .*gt/000\.png"):
        read_mvtec_3d(root)
    (root / "cable_gland/test/hole/rgb").rename(root / "cable_gland/test/hole/RGB")
    with pytest.raises(UserError, match=r"hole has no folder 'rgb'"):
        read_mvtec_3d(root)
