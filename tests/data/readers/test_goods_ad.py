import pytest

from data.errors import UserError
from data.readers.goods_ad import read_goods_ad


def test_reads_the_layout(write_tree) -> None:
    samples = read_goods_ad(write_tree("goods_ad"))
    assert [(s.id.split("/", 2)[2], s.defect) for s in samples] == [
        ("train/good/000.jpg", None),
        ("test/cap_half_open/002.jpg", "half-open cap"),
        ("test/good/001.JPG", None),
        ("test/surface_damage/3.jpg", "surface damage"),
    ]
    assert {s.category for s in samples} == {"drink bottle"}
    assert [s.mask.path.name for s in samples if s.mask] == ["002.png", "3_mask.png"]


def test_a_missing_mask_is_named(write_tree) -> None:
    root = write_tree("goods_ad")
    (root / "drink bottle/ground_truth/cap_half_open/002.png").unlink()
    with pytest.raises(UserError, match=r"Image without its mask: .*cap_half_open/002\.jpg needs .*002_mask\.png"):
        read_goods_ad(root)
