from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.doctor.contents import Role, look_into
from data.masks import MaskFile, decode_mask


def test_copies_in_another_format_have_the_same_hash(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    grey, colour = Image.fromarray(pixels), Image.fromarray(np.repeat(pixels[..., None], 3, -1))
    grey.save(tmp_path / "a.png")
    colour.save(tmp_path / "b.bmp")
    colour.rotate(180).save(tmp_path / "c.png")
    a, b, c = (look_into(tmp_path / name, Role.IMAGE)["hash"] for name in ("a.png", "b.bmp", "c.png"))
    assert a == b != c


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (bytes(5000), "zeros only"),
        (b"PK\x03\x04rest", "ZIP archive"),
        (b"nonsense", "6e 6f 6e 73"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    facts = look_into(path, Role.IMAGE)
    assert facts["fault"] == "corrupt-image"
    assert word in facts["why"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_corrupt(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert look_into(path, Role.IMAGE)["fault"] == "corrupt-image"
    assert look_into(path, Role.MASK)["fault"] == "corrupt-mask"


def test_levels_are_what_the_project_reads(tmp_path: Path) -> None:
    """A palette mask is read through its colours: the numbers must be those of `data.masks`."""
    mask = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) // 4, mode="P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(tmp_path / "m.png")
    levels = look_into(tmp_path / "m.png", Role.MASK)["levels"]
    assert sum(count for value, count in levels if value) == decode_mask(MaskFile(tmp_path / "m.png")).sum() == 8


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b'{"a": [1, 2', "It ends in the middle"),
        ("a.json", b'{"a": 1,}', "line 1"),
        ("a.json", b"\xff\xfe{}", "not UTF-8 at byte 0"),
        ("a.csv", b"a,b\n1,2,3\n", "row 2 has 3 columns"),
        ("a.yaml", b"a: [1", "expected"),
    ],
)
def test_unreadable_annotations(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    facts = look_into(tmp_path / name, Role.ANNOTATION)
    assert facts["fault"] == "unreadable-annotation"
    assert why in facts["why"]


def test_annotations_with_bom_and_crlf_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeffimage,mask\r\nä b.png,../x.png\r\n".encode())
    assert look_into(tmp_path / "a.csv", Role.ANNOTATION) == {"paths": ["../x.png"]}


def test_a_turned_photo_has_its_displayed_size_and_the_hash_of_its_upright_copy(tmp_path: Path) -> None:
    pixels, exif = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8), Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.rot90(pixels, -1)).save(tmp_path / "upright.png")
    turned, upright = (look_into(tmp_path / f"{name}.png", Role.IMAGE) for name in ("turned", "upright"))
    assert turned["size"] == [30, 50] and turned["hash"] == upright["hash"]


def test_a_deep_image_that_is_nearly_black_is_told(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 4095, np.uint16)).save(tmp_path / "twelve.png")
    Image.fromarray(np.full((4, 5), 65535, np.uint16)).save(tmp_path / "sixteen.png")
    facts = [look_into(tmp_path / f"{name}.png", Role.IMAGE) for name in ("twelve", "sixteen")]
    assert [(one["bits"], one["brightest"]) for one in facts] == [(16, 15), (16, 255)]
