from pathlib import Path

import pytest

from data.errors import UserError
from data.readers.visa import read_visa
from data.sample import load_image, load_mask


def test_reads_the_download(write_tree) -> None:
    samples = read_visa(write_tree("visa"))
    assert [(s.category, s.split, s.image.name, s.defect) for s in samples[:5]] == [
        ("candle", "train", "0000.JPG", None),
        ("candle", "train", "0002.JPG", None),
        ("candle", "test", "000.JPG", "foreign particles on the candle and missing chunk of wax"),
        ("candle", "test", "001.JPG", "wax melted out of the candle"),
        ("candle", "test", "0001.JPG", None),
    ]
    assert [s.defect for s in samples if s.category == "pcb1" and s.defect] == ["bent part and melted part", "scratch"]
    assert samples[2].id == "visa/candle/Data/Images/Anomaly/000.JPG"
    assert load_mask(samples[3], load_image(samples[3].image).shape[:2]).sum() == 16  # class index 2


def test_reads_the_1cls_layout(write_tree) -> None:
    samples = read_visa(write_tree("visa_1cls"))
    assert [(s.category, s.split, s.defect) for s in samples] == [
        ("candle", "train", None),
        ("candle", "test", "odd candle wick"),
        ("candle", "test", None),
        ("pcb1", "train", None),
        ("pcb1", "test", "unspecified defect"),
        ("pcb1", "test", None),
    ]
    assert load_mask(samples[1], load_image(samples[1].image).shape[:2]).sum() == 16


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("split_csv/1cls.csv", "candle/Data/Images/Normal/0000.JPG", "../0000.JPG", r"'\.\./0000\.JPG' in .*1cls\.csv"),
        ("split_csv/1cls.csv", "\r\ncandle,", "\r\n../candle,", r"'\.\./candle' in .*1cls\.csv"),
        (
            "split_csv/1cls.csv",
            ",train,normal",
            ",valid,normal",
            r"Unknown split or label in .*1cls\.csv: 'candle, valid",
        ),
        ("split_csv/1cls.csv", "object,", "category,", r"No column object in .*1cls\.csv"),
        (
            "split_csv/1cls.csv",
            "Masks/Anomaly/001.png",
            "Masks/Anomaly/009.png",
            r"Missing mask: .*009\.png, listed in",
        ),
        ("split_csv/1cls.csv", "Normal/0002.JPG", "Normal/0003.JPG", r"Missing image: .*Normal/0003\.JPG, listed in"),
        ("split_csv/1cls.csv", "Normal/0002.JPG", "Normal/0001.JPG", r"Listed twice: .*Normal/0001\.JPG"),
        ("split_csv/1cls.csv", ",candle/Data/Masks/Anomaly/001.png", ",", r"Image without its mask: .*001\.JPG"),
        ("split_csv/1cls.csv", "test,normal,candle/Data/Images/Normal/0001.JPG,", "test,normal", r"Row 2 of .*5"),
        ("candle/image_anno.csv", "wax melded", "wax melted", r"Unknown defect 'wax melted out of the candle'"),
        ("candle/image_anno.csv", "wax melded out of the candle", "normal", r"No defect type for .*001\.JPG"),
        ("candle/image_anno.csv", "Anomaly/001.JPG", "Anomaly/003.JPG", r"No defect type for .*001\.JPG.*image_anno"),
        ("candle/image_anno.csv", '"chunk', "chunk", r"image_anno\.csv has 4 values, not 3"),
    ],
)
def test_a_wrong_table_is_named(write_tree, table: str, old: str, new: str, message: str) -> None:
    root = write_tree("visa")
    edit(root / table, old, new)
    with pytest.raises(UserError, match=message):
        read_visa(root)


@pytest.mark.parametrize("name", ["candle/Data/Images/Normal/0001.JPG", "candle/Data/Masks/Anomaly/001.png"])
def test_a_link_that_leads_out_is_named_and_a_linked_folder_is_fine(write_tree, tmp_path: Path, name: str) -> None:
    root = write_tree("visa")
    (root / "candle/Data").rename(tmp_path / "disk")
    (root / "candle/Data").symlink_to(tmp_path / "disk")
    assert read_visa(root)
    (root / name).rename(tmp_path / "file")
    (root / name).symlink_to(tmp_path / "file")
    with pytest.raises(UserError, match=rf"Path outside its folder: '{name}' in .*1cls\.csv is a link to .*file"):
        read_visa(root)


def test_stray_and_missing_files_are_named(write_tree) -> None:
    root = write_tree("visa")
    stray = root / "candle/Data/Masks/Anomaly/050.png"
    stray.touch()
    with pytest.raises(UserError, match=r"Mask without its image: .*050\.png"):
        read_visa(root)
    stray.unlink()
    (root / "candle/Data/Images/Normal/0050.jpg").touch()
    with pytest.raises(UserError, match=r"Image that no line lists: .*0050\.jpg"):
        read_visa(root)
    (root / "split_csv/1cls.csv").unlink()
    with pytest.raises(UserError, match=r"Missing file: .*1cls\.csv"):
        read_visa(root)


def test_a_mask_of_the_1cls_layout_without_its_image_is_named(write_tree) -> None:
    root = write_tree("visa_1cls")
    (root / "pcb1/test/bad/000.JPG").unlink()
    with pytest.raises(UserError, match=r"Mask without its image: .*pcb1/ground_truth/bad/000\.png"):
        read_visa(root)
