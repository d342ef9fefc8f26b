from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.pd_real import read_pd_real
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def write_pd_real(root: Path, draw, images: str = "rgb", masks: str = "gt", normal: str = "good") -> Path:
    for folder in (f"train/{normal}", f"test/{normal}", "test/dent", "test/combine-S"):
        draw(root / "chicken" / folder / images / "000.png")
    draw(root / "chicken/test" / normal / masks / "000.png", square=0)
    for defect in ("dent", "combine-S"):
        draw(root / "chicken/test" / defect / masks / "000.png", square=255)
    return root


def test_reads_the_layout(tmp_path: Path, draw) -> None:
    listed = read_pd_real(write_pd_real(tmp_path, draw))
    assert {(s.split, s.defect) for s in listed} == {
        ("train", None),
        ("test", None),
        ("test", "dent"),
        ("test", "combination s"),
    }
    for sample in listed:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == (0 if sample.is_normal else 100)


@pytest.mark.parametrize("images", ["colour images", ""])
def test_folder_names_are_options(tmp_path: Path, draw, images: str) -> None:
    options = {"images": images, "masks": "masken für", "normal": "OK"}
    source = Source(reader="pd_real", root=str(write_pd_real(tmp_path, draw, *options.values())), options=options)
    assert len(load_samples([source]).samples) == 4


def test_another_layout_says_what_to_set(tmp_path: Path, draw) -> None:
    write_pd_real(tmp_path, draw, images="color")
    with pytest.raises(UserError, match=r"No images in .*rgb\. .*options images, masks and normal"):
        read_pd_real(tmp_path)


def test_an_unknown_defect_is_named(tmp_path: Path, draw) -> None:
    draw(write_pd_real(tmp_path, draw) / "chicken/test/melted/rgb/000.png")
    with pytest.raises(UserError, match=r"Unknown defect 'melted' in pd_real, found in .*test/melted"):
        read_pd_real(tmp_path)


def test_missing_and_orphaned_masks_are_named(tmp_path: Path, draw) -> None:
    folder = write_pd_real(tmp_path, draw) / "chicken/test/dent"
    draw(folder / "gt/007.png", square=255)
    with pytest.raises(UserError, match=r"Mask without its image: .*007\.png"):
        read_pd_real(tmp_path)
    (folder / "gt/007.png").unlink()
    (folder / "gt/000.png").unlink()
    with pytest.raises(UserError, match=r"dent/rgb/000\.png needs .*gt/000\.png"):
        read_pd_real(tmp_path)
