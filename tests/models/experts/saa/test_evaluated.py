"""From a dataset to figures and maps, by the command's own function, without a folder of a fitted expert."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.files import read_json
from data.sample import load_image
from eval.classification.evaluate import expert_folder
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert, expert_digest
from models.experts.anomalib.maps import ExportConfig, export_maps
from models.experts.load import load_expert
from models.experts.saa.expert import SAA, SAAConfig
from models.experts.saa.properties import ClassProperties

TOLD = ClassProperties(objects=1, boxes=4, area=1.0, phrases=["dark crack"])


def test_evaluated_without_a_folder(tiny_saa: SAAConfig, write_mvtec, tmp_path: Path) -> None:
    config = EvalExpertConfig(
        expert="saa_plus",
        saa=replace(tiny_saa, classes={"washer": TOLD}),
        dataset="mvtec_ad",
        data_root=str(write_mvtec()),
        out=str(tmp_path / "out"),
    )
    result = evaluate_expert(config)
    assert "not blind" in result["setting"] and result["gate"]["washer"]["anomalous_passed"] is not None
    assert np.isfinite(result["categories"]["washer"]["pixel_auroc"])
    assert read_json(tmp_path / "out" / "expert.json")["setting"] == result["setting"]
    maps = [np.load(path) for path in sorted((tmp_path / "out").rglob("*.npy"))]
    assert len(maps) == 4 and all(np.isfinite(one).all() for one in maps)
    assert len({one.tobytes() for one in maps}) == 4


def test_a_class_without_properties_is_refused_first(tiny_saa: SAAConfig, write_mvtec, tmp_path: Path) -> None:
    root, out = str(write_mvtec()), str(tmp_path / "out")
    with pytest.raises(UserError, match="nothing about 'washer'"):
        evaluate_expert(EvalExpertConfig(expert="saa_plus", saa=tiny_saa, dataset="mvtec_ad", data_root=root, out=out))


def test_the_key_of_a_map_changes_with_what_is_told_but_not_with_paths(tiny_saa: SAAConfig, tmp_path: Path) -> None:
    def digest(config: SAAConfig) -> str:
        return expert_digest("saa_plus", "", SAA(config))

    first = digest(tiny_saa)
    assert digest(replace(tiny_saa, classes={"washer": TOLD})) != first != digest(replace(tiny_saa, default=TOLD))
    assert digest(replace(tiny_saa, dino=replace(tiny_saa.dino, box_threshold=0.2))) != first
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(tiny_saa.backbone.weights).read_bytes())
    assert digest(replace(tiny_saa, backbone=replace(tiny_saa.backbone, weights=str(moved)), device="auto")) == first


def test_without_a_folder_or_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a folder"):
        load_expert("saa_plus", "")
    with pytest.raises(UserError, match="No backbone weights at checkpoints"):
        load_expert("saa_plus", "", saa=SAAConfig())


def test_the_pipeline_gives_it_no_folder_unless_it_has_one() -> None:
    config = type("Config", (), {"expert": "saa_plus", "expert_dir": "", "out": "o"})
    assert expert_folder(config) == ""  # type: ignore[arg-type]
    config.expert_dir = "fitted"
    assert expert_folder(config) == "fitted"  # type: ignore[arg-type]
    assert expert_folder(type("Config", (), {"expert": "ddad", "expert_dir": "", "out": "o"})) == "o/expert"


def test_exported_maps_are_its_maps(tiny_saa: SAAConfig, write_mvtec, tmp_path: Path) -> None:
    """Of each image at its own path; kept, and refused for other settings."""
    root, out = write_mvtec(), tmp_path / "maps"
    settings = {"expert": "saa_plus", "dataset": "mvtec_ad", "data_root": str(root), "out": str(out)}
    told = replace(tiny_saa, classes={"washer": TOLD})
    export_maps(ExportConfig(**settings, saa=told))
    images = sorted(root.glob("washer/test/*/*.png"))
    maps = [out / path.relative_to(root).with_suffix(".npy") for path in images]
    expected = SAA(told).score("washer", [load_image(images[0])])[0][0]
    assert len(maps) == 4 and np.allclose(np.load(maps[0]), expected, atol=1e-5)
    with pytest.raises(UserError, match="other settings"):
        export_maps(ExportConfig(**settings, saa=replace(tiny_saa, default=TOLD)))
    for wrong in ({}, {"model": "Padim", "expert": "saa_plus"}):
        with pytest.raises(UserError, match="one of the two"):
            export_maps(ExportConfig(dataset="mvtec_ad", data_root=str(root), out=str(out), **wrong))
