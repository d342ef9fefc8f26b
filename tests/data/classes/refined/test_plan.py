from pathlib import Path

import pytest

from data.classes.refined.plan import Placement, plan_mvtec_ac, plan_visa_ac, read_corrections
from data.classes.refined.rules import release_counts
from data.errors import UserError
from data.readers.registry import READERS
from data.readers.visa import read_visa


def targets(placements: list[Placement]) -> dict[str, str]:
    return {p.image.as_posix(): p.sample.image.as_posix().split("raw ")[1].split("/", 1)[1] for p in placements}


def plan(root: Path, corrections: dict[str, str] | None = None) -> list[Placement]:
    return plan_mvtec_ac(READERS["mvtec_ad"](root), corrections or {}, release_counts("mvtec_ac"))


def test_mvtec_ac_by_the_rules(raw_mvtec: Path) -> None:
    placements = plan(raw_mvtec)
    assert targets(placements) == {
        "capsule/train/good/000.png": "capsule/train/good/000.png",
        "capsule/test/good/000.png": "capsule/test/good/000.png",
        "capsule/test/crack/000.png": "capsule/test/crack/000.png",
        "capsule/test/crack/poke_000.png": "capsule/test/poke/000.png",
        "capsule/test/crack/poke_001.png": "capsule/test/poke/001.png",
        "pill/test/color/000.png": "pill/test/color/000.png",
    }
    assert {str(p.mask) for p in placements if p.name == "crack"} == {
        "capsule/ground_truth/crack/000_mask.png",
        "capsule/ground_truth/crack/poke_000_mask.png",
        "capsule/ground_truth/crack/poke_001_mask.png",
    }


def test_corrections_go_before_the_rules(raw_mvtec: Path) -> None:
    placements = plan(
        raw_mvtec,
        {
            "capsule/test/poke/000.png": "scratch",
            "capsule/test/poke/001.png": "drop",
            "capsule/test/crack/000.png": "good",
            "pill/test/combined/000.png": "scratch",
        },
    )
    assert {p.image.as_posix(): p.mask and p.mask.as_posix() for p in placements if p.sample.split == "test"} == {
        "capsule/test/good/000.png": None,
        "capsule/test/good/crack_000.png": None,
        "capsule/test/scratch/poke_000.png": "capsule/ground_truth/scratch/poke_000_mask.png",
        "pill/test/color/000.png": "pill/ground_truth/color/000_mask.png",
        "pill/test/scratch/combined_000.png": "pill/ground_truth/scratch/combined_000_mask.png",
    }


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        ("capsule/test/poke/009.png", "crack", r"fits no image: capsule/test/poke/009\.png"),
        ("../capsule/test/poke/000.png", "crack", r"fits no image: \.\./capsule"),
        ("capsule/test/poke/000.png", "dent", r"Unknown class 'dent' of capsule/test/poke/000\.png\. Known: crack, f"),
        ("capsule/test/good/000.png", "crack", r"A normal image has no mask: capsule/test/good/000\.png"),
        ("toothbrush/test/defective/000.png", "crack", r"none: the release lacks the category"),
    ],
)
def test_wrong_corrections_are_named(raw_mvtec: Path, image: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(raw_mvtec, {image: name})


def test_a_class_outside_the_release_is_named(raw_mvtec: Path) -> None:
    for folder in ("test", "ground_truth"):
        (raw_mvtec / "pill" / folder / "color").rename(raw_mvtec / "pill" / folder / "colour")
    with pytest.raises(UserError, match=r"Unknown class 'colour' of pill/test/colour/000\.png"):
        plan(raw_mvtec)


def test_visa_ac_by_its_map(raw_visa: Path) -> None:
    placed = plan_visa_ac(read_visa(raw_visa), {}, release_counts("visa_ac"))
    by_target = targets(placed)
    assert len(placed) == 22 + 19 + 101 + 1
    assert by_target["pcb4/train/good/0500.JPG"] == "pcb4/Data/Images/Normal/0500.JPG"
    extra = [path for path in by_target if path.startswith("pcb4/test/extra/")]
    assert len(extra) == 22
    assert all(by_target[path] == f"pcb4/Data/Images/Anomaly/{Path(path).name}" for path in extra)
    assert "pcb4/Data/Images/Anomaly/000.JPG" not in by_target.values()


def test_visa_ac_from_the_1cls_layout(raw_visa: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw 1cls"
    for sample in read_visa(raw_visa):
        names = [f"{sample.split}/{'good' if sample.is_normal else 'bad'}/{sample.image.name}"]
        names += [] if sample.is_normal else [f"ground_truth/bad/{sample.image.stem}.png"]
        for name in names:
            (root / "pcb4" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "pcb4" / name).touch()
    release = release_counts("visa_ac")
    built = plan_visa_ac(read_visa(root), {}, release)
    assert {p.image for p in built} == {p.image for p in plan_visa_ac(read_visa(raw_visa), {}, release)}


def test_visa_ac_with_corrections(raw_visa: Path) -> None:
    corrections = {"pcb4/Data/Images/Anomaly/000.JPG": "missing", "pcb4/Data/Images/Anomaly/025.JPG": "good"}
    placed = plan_visa_ac(read_visa(raw_visa), corrections, release_counts("visa_ac"))
    by_target = targets(placed)
    assert by_target["pcb4/test/missing/000.JPG"] == "pcb4/Data/Images/Anomaly/000.JPG"
    assert by_target["pcb4/test/good/Anomaly_025.JPG"] == "pcb4/Data/Images/Anomaly/025.JPG"


def test_a_missing_image_of_visa_is_named(raw_visa: Path) -> None:
    samples = [s for s in read_visa(raw_visa) if s.image.name != "025.JPG"]
    with pytest.raises(UserError, match="VisA's anomalous image 025 of pcb4 is missing"):
        plan_visa_ac(samples, {}, release_counts("visa_ac"))


def test_corrections_as_yaml_and_csv(tmp_path: Path) -> None:
    expected = {"a b/test/poke/000.png": "scratch", "a b/test/poke/001.png": "drop"}
    (tmp_path / "c.yaml").write_text("a b/test/poke/000.png: scratch\na b/test/poke/001.png: drop\n")
    (tmp_path / "c.csv").write_bytes(
        "image,class\r\na b/test/poke/000.png,scratch\r\na b/test/poke/001.png,drop\r\n".encode("utf-8-sig")
    )
    assert read_corrections(tmp_path / "c.yaml") == read_corrections(tmp_path / "c.csv") == expected
    (tmp_path / "empty.yaml").write_text("# none\n")
    assert read_corrections(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "a.png: x\na.png: y\n", r"Corrected twice in .*c\.yaml: a\.png"),
        ("c.yaml", "- a.png\n", r"Not a corrections file: .*c\.yaml"),
        ("c.yaml", "a.png\n", r"Not a corrections file: .*c\.yaml"),
        ("c.yaml", "a.png: [x]\n", r"Not a corrections file: .*c\.yaml"),
        ("c.yaml", "a: 'x", r"Not valid YAML: .*c\.yaml"),
        ("c.csv", "image,class\na,x\na,y\n", r"Corrected twice in .*c\.csv: a"),
        ("c.csv", "image\na\n", r"No column class in .*c\.csv"),
    ],
)
def test_malformed_corrections_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_corrections(tmp_path / name)


def test_a_missing_corrections_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No corrections file at .*c\.yaml"):
        read_corrections(tmp_path / "c.yaml")
