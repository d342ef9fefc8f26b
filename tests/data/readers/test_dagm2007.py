from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.dagm2007 import read_dagm2007
from data.sample import load_image, load_mask

ROWS = "1\r\n1\t0\t0576.PNG\t0\t0\r\n20\t1\t0595.PNG\t0\t0595_label.PNG\r\n"


def write_dagm(root: Path, draw, category: str = "Class1", rows: str = ROWS) -> Path:
    for split in ("Train", "Test"):
        folder = root / category / split
        draw(folder / "0576.PNG")
        draw(folder / "0595.PNG")
        draw(folder / "Label/0595_label.PNG", square=255)
        (folder / "Label/Labels.txt").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    return root


def test_reads_the_layout_with_mark_and_crlf_also_when_nested(tmp_path: Path, draw) -> None:
    write_dagm(tmp_path, draw)
    write_dagm(tmp_path, draw, "Class2/Class2")
    listed = read_dagm2007(tmp_path)
    assert [(s.category, s.split, s.is_normal) for s in listed] == [
        (category, split, normal)
        for category in ("Class1", "Class2")
        for split in ("train", "test")
        for normal in (True, False)
    ]
    bad = [sample for sample in listed if not sample.is_normal]
    assert bad[0].id == "dagm2007/Class1/Train/0595.PNG"
    for sample in bad:
        assert load_mask(sample, load_image(sample.image).shape[:2]).sum() == 100


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1\n1\t0\t0576.PNG\t0\t0\n20\t2\t0595.PNG\t0\t0595_label.PNG\n", r"Malformed line 3 in .*Labels\.txt"),
        ("1\n1 0 0576.PNG 0 0\n", r"Malformed line 2 in .*Labels\.txt"),
        ("1\n1\t0\t0576.PNG\t0\t0\n", r"0595\.PNG is not in .*Labels\.txt"),
        (ROWS + "21\t0\t0600.PNG\t0\t0\n", r"Labels\.txt lists '0600', no image"),
        (ROWS + "21\t0\t../0600.PNG\t0\t0\n", r"Path outside its folder: '\.\./0600\.PNG'"),
        ("1\n1\t0\t0576.PNG\t0\t0\n20\t0\t0595.PNG\t0\t0\n", r"Mask without its image: .*0595_label\.PNG"),
        ("1\n1\t1\t0576.PNG\t0\t0576_label.PNG\n20\t1\t0595.PNG\t0\t0\n", r"0576\.PNG needs .*0576_label\.PNG"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, draw, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_dagm2007(write_dagm(tmp_path, draw, rows=rows))


def test_missing_labels_are_named(tmp_path: Path, draw) -> None:
    (write_dagm(tmp_path, draw) / "Class1/Train/Label/Labels.txt").unlink()
    with pytest.raises(UserError, match=r"Missing file: .*Labels\.txt"):
        read_dagm2007(tmp_path)
