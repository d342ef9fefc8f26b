"""What lies in models/tiny/checkpoints: as its cards say, as the settings are today, and ready to use."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_image

from data.factory.synthetic import RootConfig, SyntheticConfig, make_factory
from data.run import SHIPPED
from eval.calibration.file import read_calibration
from eval.inspection.config import InspectConfig
from eval.inspection.run import run_inspection
from models.weights.shipped import name_shipped
from scripts.command import compose_config
from train.ship.card import list_hashes, read_card
from train.tiny import eddm, mdlm
from train.tiny.config import TinyBaseConfig

FOLDERS = ("eddm", "mdlm", "run")
HERE = re.compile(r"/(home|tmp|root|work|mnt|Users)/")


@pytest.mark.parametrize("name", FOLDERS)
def test_every_file_is_the_one_that_its_card_names(name: str) -> None:
    card = read_card(SHIPPED / name)
    assert card["files"] == list_hashes(SHIPPED / name)
    assert card["license"] == "apache-2.0" and card["figures"] and str(card["seed"]) in card["command"]
    for path in (SHIPPED / name).rglob("*"):
        if path.suffix in (".json", ".md", ".jinja"):
            assert not HERE.search(path.read_text(encoding="utf-8")), path


def test_the_bases_were_made_with_the_settings_of_today() -> None:
    config = compose_config("train_tiny_base", TinyBaseConfig, ["run_dir=r"])
    cards = {name: read_card(SHIPPED / name) for name in ("eddm", "mdlm")}
    assert cards["eddm"]["settings"] == eddm._identity(config.eddm, cards["eddm"]["seed"]).settings
    assert cards["mdlm"]["settings"] == mdlm._identity(config.mdlm, cards["mdlm"]["seed"]).settings
    assert all(card["hours"] > 0 for card in cards.values())


def test_they_are_small() -> None:
    sizes = {
        name: sum(path.stat().st_size for path in (SHIPPED / name).rglob("*") if path.is_file()) for name in FOLDERS
    }
    assert sizes["eddm"] + sizes["mdlm"] < 20e6 and sizes["run"] < 5e6
    weights = [path for name in ("eddm", "mdlm") for path in (SHIPPED / name).rglob("*.safetensors")]
    assert len(weights) == 4
    for path in weights:
        values = load_file(path).values()
        assert sum(value.numel() * value.element_size() for value in values) < 2.2 * sum(v.numel() for v in values), (
            path
        )


def test_the_page_can_count_which_sound_images_a_threshold_of_run_tiny_flags() -> None:
    calibration = read_calibration(SHIPPED / "run")
    assert calibration is not None and len(calibration.sound) == calibration.normals == 150
    flagged = [calibration.flagged_at(threshold) for threshold in (0.0, calibration.threshold, 1.01)]
    assert flagged[0] == 150 and 0 < (flagged[1] or 0) <= 0.05 * 150 and flagged[2] == 0


def test_the_run_is_one_on_these_bases() -> None:
    assert read_card(SHIPPED / "run")["settings"] == {
        "eddm": name_shipped(SHIPPED / "eddm"),
        "mdlm.llava": name_shipped(SHIPPED / "mdlm" / "llava"),
        "mdlm.sam": name_shipped(SHIPPED / "mdlm" / "sam.safetensors"),
    }


def test_run_tiny_inspects_from_any_folder_and_warns_of_another_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {name: list_hashes(SHIPPED / name) for name in FOLDERS}
    Image.fromarray(load_sample_image("china.jpg")).save("temple.png")
    (row,) = run_inspection(InspectConfig(images="temple.png", run="tiny", out="out", device="cpu")).rows
    assert row.description and row.score is not None and row.warnings
    assert {name: list_hashes(SHIPPED / name) for name in FOLDERS} == before
    assert not list(SHIPPED.rglob("*.lock"))


def test_run_tiny_tells_defective_products_from_sound_ones(tmp_path: Path) -> None:
    seen = RootConfig(categories=["washer"], train_normals=0, test_normals=8, anomalous=8)
    unseen = RootConfig(categories=["tile"], train_normals=0, test_normals=0, anomalous=0)
    make_factory(SyntheticConfig(run_dir=str(tmp_path), seed=77, workers=1, seen=seen, unseen=unseen))
    photos = str(tmp_path / "data" / "seen" / "washer" / "test")
    rows = run_inspection(InspectConfig(images=photos, run="tiny", out=str(tmp_path / "out"), device="cpu")).rows
    scores = {"good": [], "defective": []}
    for row in rows:
        scores["good" if "good" in row.name else "defective"].append(row.score)
    good, defective = (np.array(values, float) for values in scores.values())
    assert (len(good), len(defective)) == (8, 8)
    assert (defective[:, None] > good[None]).mean() > 0.75  # the chance that a defective one scores higher
    assert not any(row.warnings for row in rows)
