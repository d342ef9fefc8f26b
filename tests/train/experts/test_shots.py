"""Experts on a few sound images: the same photos for all, mean ± deviation, and seeds that are kept."""

import html
import json
import logging
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest

from data.errors import UserError
from data.plugins.trust import allow
from models.experts.clip.backbone import ClipConfig
from models.experts.ddad import DDADConfig
from models.experts.denoiser import DenoiserConfig
from models.experts.patchcore import PatchCoreConfig
from models.experts.store import read_expert
from tests.models.experts.clip.conftest import TINY, write_weights
from train.experts import shots as module
from train.experts.ddad import DDADTrainConfig
from train.experts.shots import ShotsConfig, evaluate_shots


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipConfig:
    """A small CLIP of the true classes with random weights."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    path = write_weights("tiny-clip", folder / "clip.safetensors")
    return ClipConfig(model="tiny-clip", checkpoint=str(path), device="cpu")


@pytest.fixture
def config(write_mvtec: Callable[..., Path], tmp_path: Path, patchcore: PatchCoreConfig) -> ShotsConfig:
    """PatchCore with two shots and two seeds."""
    root = write_mvtec(categories=("nut", "ring"), normals=6, defects=2)
    return ShotsConfig(
        expert="patchcore",
        dataset="mvtec_ad",
        data_root=str(root),
        out=str(tmp_path / "out"),
        device="cpu",
        shots=2,
        seeds=2,
        patchcore=patchcore,
    )


def drawn(out: Path) -> dict[int, dict[str, list[str]]]:
    """Seed → category → ids of the photos."""
    found = {}
    for path in sorted(out.glob("seed_*/shots.json")):
        photos = json.loads(path.read_text())["photos"]
        found[int(path.parent.name.removeprefix("seed_"))] = {name: list(ids) for name, ids in photos.items()}
    return found


def test_figures_are_mean_and_deviation_over_the_seeds(config: ShotsConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    out = Path(config.out)
    result = evaluate_shots(config)
    assert json.loads((out / "results.json").read_text()) == result
    seeds = [json.loads((out / f"seed_{seed}" / "expert.json").read_text()) for seed in (0, 1)]
    own = [one["mean"]["pixel_ap"] for one in seeds]
    assert own[0] != own[1]
    assert result["mean"]["pixel_ap"] == pytest.approx(sum(own) / 2)
    assert result["std"]["pixel_ap"] == pytest.approx(statistics.stdev(own))
    ring = [one["categories"]["ring"]["pixel_auroc"] for one in seeds]
    assert result["categories_std"]["ring"]["pixel_auroc"] == pytest.approx(statistics.stdev(ring))
    assert "Fitted on 2 sound images of each category, drawn by seed 1" in seeds[1]["draw"]
    assert "Fitted on 2 sound images of each category, drawn by each of the seeds 0, 1" in result["setting"]
    shown = f"{result['mean']['pixel_ap']:.2f} ± {result['std']['pixel_ap']:.2f}"
    page = html.unescape((out / "report.html").read_text())
    assert shown in page and shown in caplog.text and result["setting"] in page
    assert all(name in page for photos in drawn(out).values() for ids in photos.values() for name in ids)


def test_every_expert_sees_the_same_photos_and_a_larger_k_adds_some(
    config: ShotsConfig, clip: ClipConfig, tmp_path: Path
) -> None:
    denoiser = DenoiserConfig(channels=[16, 32])
    ddad = DDADConfig(backbone=config.patchcore.backbone, denoiser=denoiser, noise_to=20, steps=2, draws=1, blur=1.0)
    ddad.backbone = replace(ddad.backbone, layers=[1], image_size=32)
    training = DDADTrainConfig(steps=2, batch_size=2, adaptation_steps=0)
    small = replace(config, categories=["nut"])
    found = {}
    for expert in ("patchcore", "winclip", "ddad"):
        one = replace(small, expert=expert, out=str(tmp_path / expert), clip=clip, ddad=ddad, train_ddad=training)
        result = evaluate_shots(one)
        assert 0 <= result["mean"]["pixel_auroc"] <= 100 and result["std"]["pixel_auroc"] is not None
        found[expert] = drawn(tmp_path / expert)
    assert found["patchcore"] == found["winclip"] == found["ddad"]
    assert found["winclip"][0] != found["winclip"][1]
    said = json.loads((tmp_path / "winclip" / "results.json").read_text())["setting"]
    assert "With 2 shots of each category." in said and "seeds 0, 1" in said and "weights SHA-256" in said
    evaluate_shots(replace(small, shots=4, seeds=1, out=str(tmp_path / "four")))
    assert drawn(tmp_path / "four")[0]["nut"][:2] == found["winclip"][0]["nut"]


def test_an_interrupted_run_keeps_the_seeds_that_are_done(config: ShotsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    fit = module.fit_expert

    def stopped(settings: module.FitExpertConfig) -> None:
        fits.append(settings.seed)
        if settings.seed == 1 and len(fits) == 2:
            raise KeyboardInterrupt
        fit(settings)

    monkeypatch.setattr(module, "fit_expert", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate_shots(config)
    assert not (Path(config.out) / "results.json").exists()
    result = evaluate_shots(config)
    assert fits == [0, 1, 1]
    first = json.loads((Path(config.out) / "seed_0" / "expert.json").read_text())
    assert first["new_maps"] == 0 and result["seeds"]["0"]["mean"]["pixel_ap"] == first["mean"]["pixel_ap"]
    assert evaluate_shots(replace(config, data_root=config.data_root + "/.", batch_size=3))["mean"] == result["mean"]
    assert fits == [0, 1, 1]


def test_a_seed_of_other_settings_is_not_overwritten(config: ShotsConfig) -> None:
    evaluate_shots(replace(config, seeds=1, categories=["nut"]))
    other = replace(config, seeds=1, categories=["nut"], shots=1)
    with pytest.raises(UserError, match="seed_0/expert was fitted with other photos, shots"):
        evaluate_shots(other)
    with pytest.raises(UserError, match="was fitted with other patchcore"):
        evaluate_shots(
            replace(other, shots=2, patchcore=replace(config.patchcore, neighbours=3), ddad=DDADConfig(blur=9.0))
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shots": 6}, r"shots=6 of 'nut' must be at least 1 and fewer than its 6 normal images"),
        ({"shots": 16}, r"shots=16 of 'nut' must be at least 1 and fewer than its 6 normal images"),
        ({"shots": -1}, "shots=-1 must be at least 1"),
        ({"seeds": 0}, "seeds=0 at least 1"),
        ({"expert": "anoclip"}, "not with expert=anoclip. Leave it out"),
        (
            {"expert": "oracle"},
            "shots= goes with patchcore, ddad, winclip, anomalib:<Model>, package.module:Class, not",
        ),
        ({"options": {"power": 2}}, "options= are those of an expert of your own; 'patchcore' has settings"),
        ({"options": {"power": 2}, "shots": 0}, "options= goes with shots="),
        ({"seeds": 5, "shots": 0}, "seeds=5 goes with shots=: how often they are drawn. Give it, or leave out"),
        ({"expert_dir": "somewhere"}, "Leave out expert_dir="),
        ({"train_splits": ["none"]}, "No samples"),
    ],
)
def test_shots_that_cannot_be_are_refused_before_anything_is_fitted(
    changes: dict[str, object], message: str, config: ShotsConfig
) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_shots(replace(config, **changes))  # type: ignore[arg-type]
    assert not list(Path(config.out).glob("seed_*"))


MINE = """
import numpy as np

class Mine:
    name = "mean 1"

    def __init__(self, device, power: int = 1):
        self.power, self.means = power, {}

    def score(self, category, images):
        maps = [np.abs(image.mean(2) - self.means[category]).astype("float32") ** self.power for image in images]
        return [(one, float(one.max())) for one in maps]

    def fit(self, category, samples):
        from data.sample import load_image
        self.means[category] = float(np.mean([load_image(sample.image).mean() for sample in samples]))

    def save(self, folder):
        (folder / "means.txt").write_text(repr(self.means))

    def load(self, folder):
        self.means = eval((folder / "means.txt").read_text())
"""


def test_an_expert_of_ones_own_takes_shots(
    config: ShotsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_mean.py").write_text(MINE)
    (tmp_path / "own_fixed.py").write_text(MINE.partition("    def fit")[0])
    for name in ("own_mean:Mine", "own_fixed:Mine"):
        allow(name)
    own = replace(config, expert="own_mean:Mine", options={"power": 2}, categories=["nut"])
    result = evaluate_shots(own)
    assert list(result["seeds"]) == ["0", "1"] and result["std"]["pixel_ap"] is not None
    fitted = [read_expert(config.folder(seed) / "expert", "own_mean:Mine") for seed in (0, 1)]
    assert [one["config"]["options"] for one in fitted] == [{"power": 2}] * 2
    with pytest.raises(UserError, match="was fitted with other options"):
        evaluate_shots(replace(own, options={"power": 1}))
    with pytest.raises(UserError, match="nothing to teach expert=own_fixed:Mine, which has no fit"):
        evaluate_shots(replace(own, expert="own_fixed:Mine", options={}))


def test_without_shots_an_expert_is_evaluated_as_it_is(config: ShotsConfig) -> None:
    result = evaluate_shots(replace(config, expert="oracle", shots=0, seeds=3))
    assert result["mean"]["pixel_auroc"] == 100 and "draw" not in result
    assert not list(Path(config.out).glob("seed_*"))


def test_shots_may_come_from_the_splits_that_are_evaluated(config: ShotsConfig) -> None:
    result = evaluate_shots(replace(config, seeds=1, train_splits=["test"], train_share=0.5, categories=["nut"]))
    seed = json.loads((Path(config.out) / "seed_0" / "expert.json").read_text())
    assert seed["images"] == {"total": 5, "normal": 3, "anomalous": 2} and len(seed["skipped"]) == 3
    assert result["std"]["pixel_ap"] is None
