"""A real PatchCore and EIAD as sources, and what a source config may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.run import Run
from eval.calibration.file import calibration_path, write_calibration
from eval.calibration.make import Scores, make_calibration
from eval.inspection.config import InspectConfig, Pictures
from eval.inspection.inspector import load_inspector
from eval.inspection.run import run_inspection
from eval.inspection.sources import SourceConfig, identify_eiad, open_source
from models.experts.backbone import BackboneConfig
from models.experts.expert import Gate
from models.experts.patchcore import PatchCore, PatchCoreConfig


def photo(seed: int, *, scratched: bool = False) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(120, 6, (96, 96, 3))
    if scratched:
        pixels[40:56, 30:70] = (230, 40, 40)
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture
def expert(tmp_path: Path) -> Path:
    """A PatchCore that knows two products."""
    core = PatchCore(PatchCoreConfig(backbone=BackboneConfig(image_size=64, layers=[1, 2]), device="cpu"))
    for category in ("plate", "disc"):
        core.fit(category, [[photo(seed) for seed in range(6)]])
        scores = [score for _, score in core.score(category, [photo(seed) for seed in range(6, 12)])]
        core.gates[category] = Gate(1.2 * max(scores), 1.2 * max(scores))
    core.save(tmp_path / "expert", {"plate": [], "disc": []})
    return tmp_path / "expert"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(20, 24):
        cv2.imwrite(str(folder / f"{seed}.png"), photo(seed, scratched=seed == 23)[..., ::-1])
    return folder


def config_of(expert: Path, **values: Any) -> InspectConfig:
    told = {"images": "x", "expert": "patchcore", "expert_dir": str(expert), "category": "plate", "device": "cpu"}
    return InspectConfig(**{**told, **values})


def test_an_expert_inspects_photos_without_a_run(expert: Path, photos: Path, tmp_path: Path) -> None:
    inspection = run_inspection(config_of(expert, images=str(photos), out=str(tmp_path / "out")))
    assert [row.verdict.value for row in inspection.rows] == ["ok", "ok", "ok", "defect"]
    (region, *_) = inspection.rows[-1].regions
    x0, y0, x1, y1 = region.box
    assert x0 < 50 < x1 and y0 < 48 < y1 and region.place == "center"
    assert inspection.summary["threshold_stands_for"].endswith("python -m scripts.calibrate.")


def test_several_products_need_a_name(expert: Path) -> None:
    with pytest.raises(UserError, match=r"fitted on 2 products: disc, plate\. Name the one .* category="):
        open_source(config_of(expert, category=""))
    with pytest.raises(UserError, match="no fitted memory for bolt"):
        open_source(config_of(expert, category="bolt"))
    assert open_source(config_of(expert)).key != open_source(config_of(expert, category="disc")).key


def test_a_run_may_stand_beside_an_expert_to_name_what_it_finds(expert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give one of run=RUN"):
        open_source(config_of(expert, run="r"))
    assert open_source(config_of(expert, run="r", classes="c.yaml")).category == "plate"
    with pytest.raises(UserError, match="no fitted memory for washer"):  # it knows two, so names must agree
        open_source(config_of(expert, run="r", classes="c.yaml", category="washer"))
    core = PatchCore.load(expert, "cpu")
    del core.gates["disc"]
    core.save(tmp_path / "single", {"plate": []})
    single = config_of(tmp_path / "single", run="r", classes="c.yaml", category="washer")
    assert open_source(single).category == "plate"  # the class file may call it otherwise
    with pytest.raises(UserError, match="no fitted memory for washer"):
        open_source(config_of(tmp_path / "single", category="washer"))


def test_a_calibration_is_used_and_another_models_is_refused(expert: Path) -> None:
    key = open_source(config_of(expert)).key
    sound = Scores(images=list(np.linspace(0.1, 0.9, 40)), peaks=list(np.linspace(0.2, 0.8, 40)))
    path = calibration_path(expert, "plate")
    write_calibration(path, make_calibration(sound, [], rate=0.05, model=key, category="plate"))
    inspector = load_inspector(config_of(expert))
    assert 0.8 < inspector.limits.score < 1 and 0.7 < inspector.limits.pixel < 0.9
    assert load_inspector(config_of(expert, threshold=0.3)).limits.score == 0.3
    write_calibration(path, make_calibration(sound, [], rate=0.05, model="other", category="plate"))
    with pytest.raises(UserError, match="calibration of another model"):
        load_inspector(config_of(expert))


def test_exactly_one_looks() -> None:
    for values in ({}, {"run": "r", "export": "e"}, {"run": "r", "expert": "patchcore"}):
        with pytest.raises(UserError, match="Give one of run=RUN"):
            open_source(SourceConfig(**values))
    with pytest.raises(UserError, match="reads the true mask"):
        open_source(SourceConfig(expert="oracle"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"run": "r", "mllm": "x"}, "mllm= names the classes"),
        ({"expert": "patchcore", "classes": "c"}, "An expert names no classes"),
        ({"expert": "patchcore", "run": "r", "classes": "c", "mllm": "x"}, "gives the EDDM that names classes"),
        ({"run": "r", "coco": True, "pictures": Pictures.none}, "drawn from the masks"),
        ({"run": "r", "doubt": 2.0}, "doubt=2.0 must be between"),
        ({"run": "r", "batch_size": 0}, "batch_size=0"),
        ({"run": "r", "min_area": 1.0}, "min_area=1.0"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        InspectConfig(images="x", **values).check()


def test_the_identity_of_a_run_changes_with_its_weights_alone(run: Run) -> None:
    config = SourceConfig(run=str(run.path), device="cpu")
    (run.eddm).mkdir()
    before = identify_eiad(config)
    (run.path / "familiar.safetensors").write_bytes(b"x")
    (run.path / "calibration.json").write_text("{}")
    assert identify_eiad(config) == before
    (run.mdlm / "eddm" / "heads.safetensors").write_bytes(b"other weights")
    assert identify_eiad(config) != before
