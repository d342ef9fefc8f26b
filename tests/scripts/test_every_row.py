"""Every row of EIAD's Tables IV to VI, and VELM's vision experts, has a command that runs with random weights.

The classes are the true ones; here they are small. `test_the_published_size` takes the CLIP as it is published.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import open_clip
import pytest

from eval.tables.published import load_published
from eval.tables.zero_shot import METHODS
from tests.models.experts.clip.conftest import TINY, write_weights  # type: ignore[import-not-found]
from tests.models.experts.saa.conftest import write_saa  # type: ignore[import-not-found]
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]
from train.plan.config import flatten_overrides

ON_CLIP = {"winclip": [], "anoclip": [], "anoclip+": ["clip.adapt=true"], "clip_surgery": []}
FITTED = {  # what VELM sees with, trained for a moment
    "patchcore": ["patchcore.memory_share=0.5", "patchcore.backbone.image_size=64"],
    "ddad": ["train_ddad.steps=2", "ddad.steps=2", "ddad.draws=2"],
}
NOT_OURS = ("echo", "mcad")  # of which VELM's paper prints one figure each, and no definition


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that name a small CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "tiny-clip.json")
    return ["clip.model=tiny-clip", f"clip.checkpoint={write_weights('tiny-clip', folder / 'clip.safetensors')}"]


@pytest.fixture(scope="module")
def saa(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that name a small SAA+."""
    return flatten_overrides({"saa": asdict(write_saa(tmp_path_factory.mktemp("saa")))})


@pytest.fixture
def root(write_mvtec: Callable[..., Path]) -> Path:
    """A dataset in MVTec AD's layout, of a class that SAA+ is told about."""
    return write_mvtec(categories=("metal_nut",), normals=6, defects=2)


def check_maps(folder: Path, root: Path) -> None:
    """A map for each test image, of its size, finite, and of that image alone."""
    images = sorted((root / "metal_nut" / "test").rglob("*.png"))
    maps = [np.load((folder / path.relative_to(root)).with_suffix(".npy")) for path in images]
    assert len(maps) == 8 and len(list(folder.rglob("*.npy"))) == 8
    assert all(found.shape == (48, 64) and found.dtype == np.float32 and np.isfinite(found).all() for found in maps)
    assert len({found.tobytes() for found in maps}) == 8


def run_expert(run_command: RunCommand, root: Path, out: Path, words: list[str]) -> None:
    """Both commands of the page: maps, and figures."""
    data = ["dataset=mvtec_ad", f"data_root={root}", "device=cpu", *words]
    run_command("export_maps", *data, f"out={out / 'maps'}")
    check_maps(out / "maps", root)
    run_command("eval_expert", *data, f"out={out / 'figures'}")
    found = json.loads((out / "figures" / "expert.json").read_text())
    assert all(np.isfinite(found["mean"][name]) for name in ("image_auroc", "pixel_auroc", "pixel_f1_max", "pixel_ap"))


def test_every_row_is_run_below() -> None:
    rows = {name for key in ("eiad.4", "eiad.5", "eiad.6") for name in load_published()[key].rows}
    assert rows - {"eiad"} <= set(METHODS) == {*ON_CLIP, "saa_plus"} - {"anoclip+"}
    experts = {
        name.split("_")[0].split(".")[0]
        for key in ("velm.1", "velm.2", "velm.3")
        for name in load_published()[key].rows
    }
    assert experts - set(NOT_OURS) == {*FITTED, "oracle"}


@pytest.mark.parametrize("method", ON_CLIP)
def test_a_zero_shot_expert_on_clip(
    method: str, clip: list[str], root: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    run_expert(run_command, root, tmp_path, [f"expert={method.removesuffix('+')}", *ON_CLIP[method], *clip])


def test_saa_plus(saa: list[str], root: Path, tmp_path: Path, run_command: RunCommand) -> None:
    run_expert(run_command, root, tmp_path, ["expert=saa_plus", *saa])


@pytest.mark.parametrize("name", FITTED)
def test_an_expert_that_is_fitted(name: str, root: Path, tmp_path: Path, run_command: RunCommand) -> None:
    fit = tmp_path / "fit"
    data = ["dataset=mvtec_ad", f"data_root={root}", "device=cpu", f"expert={name}"]
    run_command("fit_expert", *data, f"out={fit}", *FITTED[name])
    run_expert(run_command, root, tmp_path, [f"expert={name}", f"expert_dir={fit}"])


def test_the_oracle(root: Path, tmp_path: Path, run_command: RunCommand) -> None:
    """Its map is the true mask, so that of all sound images is the same."""
    run_command("eval_expert", "dataset=mvtec_ad", f"data_root={root}", "expert=oracle", f"out={tmp_path / 'figures'}")
    found = json.loads((tmp_path / "figures" / "expert.json").read_text())
    assert found["sees_truth"] and found["mean"]["pixel_auroc"] == 100


@pytest.fixture(scope="module")
def published_clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """833 MB of random weights of ViT-B-16-plus-240, which are removed at the end."""
    path = write_weights("ViT-B-16-plus-240", tmp_path_factory.mktemp("clip") / "clip.safetensors")
    yield path
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["winclip", "anoclip", "clip_surgery"])
def test_the_published_size(
    method: str, published_clip: Path, write_mvtec: Callable[..., Path], tmp_path: Path, run_command: RunCommand
) -> None:
    root, out = write_mvtec(categories=("tile",), normals=1, defects=1), tmp_path / "maps"
    words = [f"expert={method}", f"clip.checkpoint={published_clip}", f"out={out}", "device=cpu"]
    run_command("export_maps", "dataset=mvtec_ad", f"data_root={root}", *words)
    maps = [np.load(path) for path in sorted(out.rglob("*.npy"))]
    assert len(maps) == 2 and all(np.isfinite(found).all() and found.shape == (48, 64) for found in maps)
    assert not np.allclose(maps[0], maps[1], atol=1e-6)
    told = json.loads((out / "maps.json").read_text())
    assert "ViT-B-16-plus-240 at 240 pixels square" in told["setting"] and not told["weights"][0]["published"]
