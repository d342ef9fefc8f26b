"""Every dataset is recognised by names alone, at its root, above it, below it and in the wrong case."""

from pathlib import Path

import pytest

from data.doctor.recognise import recognise

TREES = {  # name: reader, files
    "mvtec_ad": "mvtec_ad bottle/train/good/0.png bottle/test/cut/0.png bottle/ground_truth/cut/0_mask.png",
    "visa": "visa pcb1/Data/Images/Normal/0.JPG pcb1/Data/Images/Anomaly/0.JPG pcb1/Data/Masks/Anomaly/0.png",
    "visa 1cls": "visa pcb1/train/good/0.JPG pcb1/test/bad/0.JPG pcb1/ground_truth/bad/0.png",
    "mvtec_3d": "mvtec_3d bagel/train/good/rgb/0.png bagel/test/hole/rgb/0.png bagel/test/hole/gt/0.png",
    "mvtec_loco": "mvtec_loco pushpins/train/good/0.png pushpins/test/logical_anomalies/0.png"
    " pushpins/ground_truth/logical_anomalies/0/0.png pushpins/defects_config.json",
    "goods_ad": "goods_ad food_box/train/good/0.jpg food_box/test/dent/0.jpg food_box/ground_truth/dent/0.png",
    "ds_mvtec": "ds_mvtec bottle/image/cut/0.png bottle/mask/cut/0_mask.png bottle/rbg_mask/cut/0_rbg_mask.png",
    "real_iad": "real_iad realiad_256/plug/OK/S0001/0.jpg realiad_256/plug/NG/AK/S0044/0.jpg realiad_jsons/plug.json",
    "real_iad nested": "real_iad realiad_raw/plug/OK/S0001/0.jpg realiad_jsons/realiad_jsons/plug.json",
    "vision": "vision Cable/train/_annotations.coco.json Cable/val/_annotations.coco.json",
    "pd_real": "pd_real pizza/train/good/rgb/0.png pizza/test/dent/rgb/0.png pizza/test/dent/gt/0.png",
    "bsdata": "bsdata data/0.jpg label/0.json image_data.json data/BSD/test/0.jpg",
    "rsdd": "rsdd Type-I_RSDDs_dataset/Rail_surface_images/0.jpg Type-I_RSDDs_dataset/GroundTruth/0.jpg",
    "dagm2007": "dagm2007 Class1/Train/Label/Labels.txt Class1/Test/Label/Labels.txt",
    "dagm2007 nested": "dagm2007 Class1/Class1/Train/Label/Labels.txt Class1/Class1/Test/Label/Labels.txt",
    "eyecandies": "eyecandies Confetto/train/data/00_image_0.png Confetto/test_public/data/00_image_0.png",
    "mvtec_ac": "mvtec_ac screw/train/good/0.png screw/test/scratch_thread/0.png"
    " screw/ground_truth/scratch_thread/0_mask.png bottle/test/contamination/0.png",
    "visa_ac": "visa_ac candle/test/good/0.JPG candle/test/chunk-of-wax-missing/0.JPG candle/train/good/0.JPG",
    "magnetic_tile": "magnetic_tile MT_Blowhole/Imgs/0.jpg MT_Free/Imgs/0.jpg",
    "factory": "mvtec_ad factory.json bottle/train/good/0.png bottle/test/cut/0.png",
    "own products": "mvtec_ad gear/train/good/0.png gear/test/cut/0.png gear/ground_truth/cut/0_mask.png",
    "own flat products": "folder gear/images/0.png gear/masks/0.png nut/test/good/0.png",
    "one product": "folder train/good/0.png test/cut/0.png ground_truth/cut/0_mask.png",
    "flat product": "folder images/0.png masks/0.png",
}
# one level off, these are good datasets too: a product among others, or one class of DAGM
AMBIGUOUS = {"own products", "own flat products", "one product", "flat product", "dagm2007 nested"}
NAMED = [name for name in TREES if name not in AMBIGUOUS]


def split(name: str) -> tuple[str, list[str]]:
    """Reader and files of a tree; `_` stands for the spaces of RSDDs."""
    reader, *files = TREES[name].split()
    return reader, [file.replace("_", " ") if reader == "rsdd" else file for file in files]


def plant(root: Path, files: list[str]) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("name", TREES)
def test_at_the_root(name: str, tmp_path: Path) -> None:
    reader, files = split(name)
    found = recognise(plant(tmp_path / "some/where", files))
    assert (found.reader, found.root, found.problems) == (reader, tmp_path / "some/where", [])


@pytest.mark.parametrize("name", NAMED)
def test_nested_twice(name: str, tmp_path: Path) -> None:
    reader, files = split(name)
    root = plant(tmp_path / "some/where/again", files)
    for given in (root.parent, root.parent.parent):
        found = recognise(given)
        assert (found.reader, found.root) == (reader, root)
        assert [(item.code, item.fix) for item in found.problems] == [("wrong-level", f"Pass data={root} instead.")]


@pytest.mark.parametrize("name", NAMED)
def test_too_deep(name: str, tmp_path: Path) -> None:
    reader, files = split(name)
    root = plant(tmp_path / "some/where", files)
    found = recognise(root / files[-1].split("/")[0])
    assert (found.reader, found.root) == (reader, root)
    assert [item.code for item in found.problems] == ["wrong-level"]


@pytest.mark.parametrize("name", NAMED)
def test_in_the_wrong_case(name: str, tmp_path: Path) -> None:
    reader, files = split(name)
    found = recognise(plant(tmp_path / "x", [file.swapcase() for file in files]))
    assert found.reader == reader
    assert {item.code for item in found.problems} == {"wrong-case"}
    assert all("should be spelt" in item.message for item in found.problems)


def test_several_datasets_are_listed(tmp_path: Path) -> None:
    for name in ("bsdata", "magnetic_tile", "rsdd"):
        plant(tmp_path / "all" / name, split(name)[1])
    found = recognise(tmp_path / "all")
    assert [item.code for item in found.problems] == ["several-datasets"]
    assert all(f"data={tmp_path}/all/{name} " in found.problems[0].fix for name in ("bsdata", "magnetic_tile", "rsdd"))
    named = recognise(tmp_path / "all", reader="rsdd")
    assert named.root == tmp_path / "all/rsdd"


def test_nothing_and_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    assert [item.code for item in recognise(tmp_path / "a/b/c").problems] == ["unknown-dataset"]
    assert [item.code for item in recognise(tmp_path / "nowhere").problems] == ["missing-folder"]
    (tmp_path / "file").touch()
    assert recognise(tmp_path / "file").problems[0].message == "This is a file."


def test_the_wrong_reader_is_told_the_right_one(tmp_path: Path) -> None:
    root = plant(tmp_path / "deep/in/rsdd", split("rsdd")[1])
    found = recognise(root, reader="bsdata")
    assert [item.code for item in found.problems] == ["other-dataset"]
    assert "It looks like RSDDs (reader=rsdd)" in found.problems[0].message


def test_the_real_sets(real_data: Path) -> None:
    for name in ("bsdata", "magnetic_tile"):
        found = recognise(real_data / "datasets" / name)
        assert (found.reader, found.root, found.problems) == (name, real_data / "datasets" / name, [])
