from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.folder import read_folder
from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import load_image, load_mask


def write_flat(product: Path, draw) -> Path:
    for name in ("a.jpg", "b.JPG", "c ü.png"):
        draw(product / "images" / name)
    draw(product / "masks/a.png", square=1)
    draw(product / "masks/c ü_mask.png", square=255)
    return product


def test_reads_a_flat_product(tmp_path: Path, draw) -> None:
    listed = read_folder(write_flat(tmp_path / "my gear", draw))
    assert [(s.category, s.split, s.defect) for s in listed] == [
        ("my gear", "test", "defect"),
        ("my gear", "test", None),
        ("my gear", "test", "defect"),
    ]
    assert listed[2].id == "folder/my gear/images/c ü.png"
    for sample in listed:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == (0 if sample.is_normal else 100)


def test_reads_several_products_of_both_layouts(tmp_path: Path, draw, write_mvtec) -> None:
    root = write_mvtec(name="products", categories=("washer",))
    write_flat(root / "gear", draw)
    listed = read_folder(root)
    assert {sample.category for sample in listed} == {"gear", "washer"}
    assert {sample.dataset for sample in listed} == {"folder"}
    alone = read_folder(root / "washer")
    assert [sample.id for sample in alone] == [sample.id for sample in listed if sample.category == "washer"]


def test_the_current_folder_has_a_name(tmp_path: Path, draw, monkeypatch) -> None:
    monkeypatch.chdir(write_flat(tmp_path / "gear", draw))
    assert {sample.category for sample in read_folder(Path())} == {"gear"}


def test_options(tmp_path: Path, draw, write_mvtec) -> None:
    flat = read_folder(write_flat(tmp_path / "gear", draw), defect="crack", threshold=127)
    assert flat[0].defect == "crack"
    with pytest.raises(UserError, match="Empty mask"):  # its pixels are 1
        load_mask(flat[0], (40, 60))
    assert {s.mask.threshold for s in read_folder(write_mvtec(), threshold=127) if s.mask} == {127}
    with pytest.raises(UserError, match=r"threshold=300 .* within 0\.\.254"):
        read_folder(tmp_path / "gear", threshold=300)


def test_a_product_of_no_or_both_layouts_is_named(tmp_path: Path, draw) -> None:
    product = write_flat(tmp_path / "gear", draw)
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match=r"Not a product folder: .*notes has neither"):
        read_folder(tmp_path)
    (product / "test").mkdir()
    with pytest.raises(UserError, match=r"Not a product folder: .*gear has images, test"):
        read_folder(product)


def test_orphans_and_deeper_folders_are_named(tmp_path: Path, draw) -> None:
    product = write_flat(tmp_path / "gear", draw)
    orphan = draw(product / "masks/z.png", square=255)
    with pytest.raises(UserError, match=r"Mask without its image: .*z\.png"):
        read_folder(product)
    orphan.unlink()
    draw(product / "images/more/d.jpg")
    with pytest.raises(UserError, match=r"A folder in images/: .*more"):
        read_folder(product)


@pytest.mark.parametrize("name", ["Good", "OK", "normal", "no-defect"])
def test_normal_images_under_another_name(name: str, write_mvtec) -> None:
    root = write_mvtec(name="products", categories=("washer",))
    for split in ("train", "test"):
        (root / "washer" / split / "good").rename(root / "washer" / split / name)
    with pytest.raises(UserError, match=rf"normal images\? .*{name} .* Rename it to good, or .* option good={name}"):
        read_folder(root / "washer")
    listed = read_folder(root / "washer", good=name)
    assert {sample.image.parent.name for sample in listed if sample.is_normal} == {name}
    with pytest.raises(UserError, match=r"Rename it to good\.$"):
        read_mvtec_layout(root, "mvtec_ad")
