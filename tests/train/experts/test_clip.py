"""The experts on CLIP from a command's configuration to figures: without a fit, with a gate, with shots."""

import html
import json
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest

from data.errors import UserError
from eval.inspection.sources import ExpertSource, SourceConfig
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert
from models.experts.anomalib.maps import ExportConfig, export_maps
from models.experts.clip.backbone import ClipConfig
from models.experts.clip.winclip import WinClip
from models.experts.load import load_expert
from tests.models.experts.clip.conftest import TINY, write_weights
from train.experts.fit import FitExpertConfig, fit_expert


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipConfig:
    """A small CLIP of the true classes with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    path = write_weights("tiny-clip", folder / "clip.safetensors")
    return ClipConfig(model="tiny-clip", checkpoint=str(path), device="cpu")


@pytest.fixture
def root(write_mvtec) -> Path:
    return write_mvtec(categories=("nut", "ring"), normals=6, defects=2)


def evaluated(root: Path, out: Path, **changes: object) -> EvalExpertConfig:
    return EvalExpertConfig(dataset="mvtec_ad", data_root=str(root), out=str(out), device="cpu", **changes)  # type: ignore[arg-type]


def fitted(root: Path, out: Path, **changes: object) -> FitExpertConfig:
    return FitExpertConfig(dataset="mvtec_ad", data_root=str(root), out=str(out), device="cpu", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["winclip", "anoclip", "clip_surgery"])
def test_figures_without_a_fit_say_their_setting(name: str, clip: ClipConfig, root: Path, tmp_path: Path) -> None:
    result = evaluate_expert(evaluated(root, tmp_path / "out", expert=name, clip=clip))
    assert result["expert"] == name and result["sees_truth"] is False
    assert "tiny-clip at 80 pixels" in result["setting"] and "weights SHA-256" in result["setting"]
    assert 0 <= result["mean"]["pixel_auroc"] <= 100
    again = evaluate_expert(evaluated(root, tmp_path / "out", expert=name, clip=clip))
    assert again["new_maps"] == 0


def test_maps_of_other_weights_are_made_anew(clip: ClipConfig, root: Path, tmp_path: Path) -> None:
    evaluate_expert(evaluated(root, tmp_path / "out", expert="clip_surgery", clip=clip))
    same = replace(clip, image_size=80)  # the model's own size, named
    assert evaluate_expert(evaluated(root, tmp_path / "out", expert="clip_surgery", clip=same))["new_maps"] == 0
    other = replace(clip, image_size=96)
    assert evaluate_expert(evaluated(root, tmp_path / "out", expert="clip_surgery", clip=other))["new_maps"] > 0


@pytest.mark.parametrize("name", ["winclip", "anoclip", "clip_surgery"])
def test_the_row_says_at_which_size_a_convention_was_really_followed(
    name: str, clip: ClipConfig, root: Path, tmp_path: Path
) -> None:
    convention = {"convention": "dinomaly", "resolution": "64", "input_size": 140, "crop": 120}
    settings = {"expert": name, "clip": clip, "categories": ["nut"]} | convention
    result = evaluate_expert(evaluated(root, tmp_path / "out", **settings))
    assert "at 112 pixels square (7 × 7 patches)" in result["setting"]
    assert "The convention names 120 pixels." in result["setting"]
    assert result["setting"] in html.unescape((tmp_path / "out" / "report.html").read_text())
    own = evaluate_expert(evaluated(root, tmp_path / "own", **settings | {"clip": replace(clip, image_size=96)}))
    assert "at 96 pixels square" in own["setting"] and "names 120 pixels" in own["setting"]


def test_winclip_with_shots_comes_back_as_it_was_fitted(clip: ClipConfig, root: Path, tmp_path: Path) -> None:
    fit_expert(fitted(root, tmp_path / "fit", expert="winclip", shots=2, clip=clip))
    expert = load_expert("winclip", str(tmp_path / "fit"), clip=ClipConfig())
    assert isinstance(expert, WinClip)
    assert {category: len(known["patch"]) for category, known in expert.memories.items()} == {"nut": 50, "ring": 50}
    assert expert.shots == 2
    assert expert.gates["nut"].score > 0 and "With 2 shots of each category." in expert.setting
    with pytest.raises(UserError, match="none of screw"):
        expert.check(["nut", "screw"])
    result = evaluate_expert(evaluated(root, tmp_path / "out", expert="winclip", expert_dir=str(tmp_path / "fit")))
    assert result["gate"]["nut"]["score_threshold"] == expert.gates["nut"].score


def test_only_the_gate_of_a_zero_shot_expert_is_fitted(clip: ClipConfig, root: Path, tmp_path: Path) -> None:
    fit_expert(fitted(root, tmp_path / "fit", expert="anoclip", clip=clip))
    assert load_expert("anoclip", str(tmp_path / "fit")).gates["nut"].score != 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert": "winclip", "shots": 6}, "shots=6 of 'nut' must be at least 1 and fewer than its 6 normal images"),
        ({"expert": "anoclip", "shots": 1}, "only its gate is fitted. Leave out shots="),
    ],
)
def test_shots_that_cannot_be(
    changes: dict[str, object], message: str, clip: ClipConfig, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        fit_expert(fitted(root, tmp_path / "fit", clip=clip, **changes))


def test_a_new_photo_needs_the_name_of_its_product(clip: ClipConfig) -> None:
    assert ExpertSource(SourceConfig(expert="winclip", clip=clip, category="nut", device="cpu")).threshold == 0.5
    with pytest.raises(UserError, match="judges a product by its name"):
        ExpertSource(SourceConfig(expert="winclip", clip=clip, device="cpu"))


def test_maps_of_an_expert_are_exported(clip: ClipConfig, root: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        expert="winclip", clip=clip, dataset="mvtec_ad", data_root=str(root), out=str(tmp_path / "maps"), device="cpu"
    )
    assert len(list(export_maps(config).rglob("*.npy"))) == len(list(root.glob("*/test/*/*.png")))
