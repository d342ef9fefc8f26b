import shutil
from pathlib import Path

import pytest

from data.doctor.examine import DoctorConfig, examine
from data.doctor.recognise import recognise
from data.errors import UserError
from data.readers.photos import find_layout, read_photos
from data.sample import load_image, load_mask


def plant(root: Path, draw, *names: str) -> Path:
    for name in names:
        draw(
            root / name, square=None if not any(word in name.lower() for word in ("masks", "_mask.", "truth")) else 255
        )
    return root


@pytest.mark.parametrize(
    "good",
    [
        "good",
        "OK",
        "ok",
        "good parts",
        "GoodParts_2024",
        "Normal",
        "defect-free",
        "no defects",
        "not defective",
        "i.O.",
    ],
)
@pytest.mark.parametrize("bad", ["bad", "NG", "not OK", "Defects", "no good", "rejected_parts", "n.i.O.", "nok"])
def test_folders_are_read_by_what_they_are_called(tmp_path: Path, draw, good: str, bad: str) -> None:
    root = plant(
        tmp_path / "washer", draw, f"{good}/a.JPG", f"{good}/Monday/b.png", f"{bad}/c.jpg", f"{bad}/dent/d.jpg"
    )
    samples = read_photos(root).samples
    assert {s.image.name: s.defect for s in samples} == {
        "a.JPG": None,
        "b.png": None,
        "c.jpg": "defect",
        "d.jpg": "dent",
    }
    assert {(s.dataset, s.category, s.split, s.mask) for s in samples} == {("photos", "washer", "test", None)}
    found = recognise(root)
    assert (found.reader, found.root, found.problems) == ("photos", root, [])


def test_defects_may_lie_beside_the_sound_photos(tmp_path: Path, draw) -> None:
    root = plant(tmp_path / "washer", draw, "good/a.png", "deep_scratch/b.png", "stain/c.png", "preview.png")
    listed = read_photos(root)
    assert [s.defect for s in listed.samples] == ["deep scratch", None, "stain"]
    assert [s.id for s in listed.skipped] == ["photos/washer/preview.png"]


@pytest.mark.parametrize(
    ("mask", "photo"),
    [
        ("masks/bad/dent/b.png", "bad/dent/b.jpg"),
        ("masks/dent/b_mask.png", "bad/dent/b.jpg"),
        ("Ground Truth/b.png", "bad/dent/b.jpg"),
        ("bad/masks/b.png", "bad/b.jpg"),
        ("bad/dent/b_mask.png", "bad/dent/b.jpg"),
    ],
)
def test_masks_lie_where_people_put_them(tmp_path: Path, draw, mask: str, photo: str) -> None:
    root = plant(tmp_path / "washer", draw, "good/a.png", mask, photo, "bad/dent/without.png")
    samples = {s.image.name: s for s in read_photos(root).samples}
    assert set(samples) == {"a.png", "b.jpg", "without.png"}
    assert load_mask(samples["b.jpg"], load_image(samples["b.jpg"].image).shape[:2]).sum() == 100
    assert samples["without.png"].mask is None


def test_several_products_and_results_beside_them(tmp_path: Path, draw) -> None:
    root = plant(tmp_path / "shop", draw, "nut/OK/a.png", "nut/NG/a.png", "washer/good/a.png")
    (root / "washer/found").mkdir()
    draw(root / "washer/found/a.png")
    (root / "washer/found/results.csv").touch()
    samples = read_photos(root).samples
    assert [(s.category, s.id, s.defect) for s in samples] == [
        ("nut", "photos/nut/NG/a.png", "defect"),
        ("nut", "photos/nut/OK/a.png", None),
        ("washer", "photos/washer/good/a.png", None),
    ]
    assert recognise(root).reader == "photos"


def test_a_folder_without_sound_photos_is_told_what_to_do(tmp_path: Path, draw) -> None:
    root = plant(tmp_path / "some/where/washer", draw, "Charge 7/a.png", "Charge 8/b.png", "loose.png")
    with pytest.raises(UserError, match=r"No folder of sound photos .*\(it has Charge 7, Charge 8\).*good=NAME"):
        read_photos(root)
    samples = read_photos(root, good="Charge 7").samples
    assert [s.defect for s in samples] == [None, "Charge 8"]
    assert [s.image.name for s in read_photos(plant(tmp_path / "loose", draw, "a.png", "b.png"), good=".").samples] == [
        "a.png",
        "b.png",
    ]
    problem = next(item for item in recognise(root).problems if item.code == "unknown-dataset")
    assert "sound photos in good/" in problem.message
    with pytest.raises(UserError, match="threshold=300"):
        read_photos(root, threshold=300)


def test_names_that_say_both_are_no_sound_photos(tmp_path: Path, draw) -> None:
    assert find_layout(plant(tmp_path / "washer", draw, "good and bad/a.png")) is None
    assert find_layout(plant(tmp_path / "test", draw, "good/a.png", "bad/b.png")) is None  # a part of another layout


def test_the_doctor_accepts_photos_without_masks_and_says_what_that_means(tmp_path: Path, write_mvtec) -> None:
    root = write_mvtec() / "washer"
    (root / "test/good").rename(root / "OK parts")
    (root / "test").rename(root / "NG")
    for name in ("train", "ground_truth"):
        shutil.rmtree(root / name)
    diagnosis = examine(DoctorConfig(workers=1, cache=str(tmp_path / "cache")), str(root))
    assert diagnosis.found.reader == "photos" and diagnosis.passed
    assert {item.code for item in diagnosis.problems} == {"no-mask"}
