import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.files import write_json
from data.training.grounding import DescriptionMode
from eval.calibration.calibrate import CalibrateConfig, calibrate, count_trained
from eval.calibration.file import read_calibration
from eval.inspection.config import InspectConfig
from eval.inspection.photos import find_photos
from eval.inspection.run import run_inspection
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from models.experts.backbone import BackboneConfig
from models.experts.expert import Gate
from models.experts.patchcore import PatchCore, PatchCoreConfig
from models.experts.store import write_fitted
from tests.eval.judgements.judged import judged  # type: ignore[import-not-found]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Grey photos with noise; defective ones have a white square."""

    def photos(name: str, count: int, *, seed: int, bad: bool = False, bright: int = 0) -> Path:
        draws = np.random.default_rng(seed)
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = draws.integers(60 + bright, 120 + bright, (64, 64, 3), dtype=np.uint8)
            if bad:
                image[20:36, 20:36] = 255
            cv2.imwrite(str(folder / f"{seed} {index}.png"), image)
        return folder

    return photos


@pytest.fixture
def expert(tmp_path: Path, write: Write) -> Path:
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements.txt")
    torch.manual_seed(0)
    path = tmp_path / "backbone.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    backbone = BackboneConfig(name="test_resnet", weights=str(path), layers=[1, 2], image_size=64)
    made = PatchCore(PatchCoreConfig(backbone=backbone, memory_share=0.5, batch_size=8, blur=1.0))
    images = sorted(write("fitted", 8, seed=0).iterdir())
    made.fit("sheet", [[cv2.imread(str(image)) for image in images]])
    made.gates = {"sheet": Gate(1e9, 1e9)}
    made.save(tmp_path / "expert", {"sheet": []})
    write_fitted(tmp_path / "expert", images)
    return tmp_path / "expert"


def test_an_expert_is_calibrated_and_inspect_uses_it(expert: Path, write: Write, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in expert.rglob("*") if path.is_file()}
    found = calibrate(
        CalibrateConfig(
            expert_dir=str(expert),
            normals=str(write("sound", 40, seed=1)),
            defects=str(write("bad", 12, seed=2, bad=True)),
        )
    )
    made = read_calibration(expert)
    assert made == found.calibration
    assert (made.normals, made.defects, made.found, made.category) == (40, 12, 1.0, "sheet")
    assert made.pixel is not None and made.scaling is not None
    said = found.describe()
    assert "5 % false alarms, from 40 sound images" in said and "platt scaling; expected calibration error" in said
    assert {path.name: path.read_bytes() for path in expert.rglob("*") if path.name in before} == before
    new = write("new", 10, seed=3)
    for path in write("worse", 10, seed=4, bad=True).iterdir():
        shutil.copy(path, new)
    rows = run_inspection(
        InspectConfig(images=str(new), expert="patchcore", expert_dir=str(expert), out=str(tmp_path / "out"))
    ).rows
    assert {row.threshold for row in rows} == {made.threshold}
    assert all((row.probability > 0.5) == row.name.startswith("4 ") for row in rows)


def test_a_change_of_light_raises_a_warning(expert: Path, write: Write, tmp_path: Path) -> None:
    calibrate(CalibrateConfig(expert_dir=str(expert), normals=str(write("sound", 40, seed=1))))
    summaries = [
        run_inspection(
            InspectConfig(
                images=str(folder), expert="patchcore", expert_dir=str(expert), out=str(tmp_path / folder.name)
            )
        ).summary
        for folder in (write("same", 30, seed=5), write("bright", 30, seed=6, bright=100))
    ]
    same, bright = (" ".join(map(str, summary["warnings"])) for summary in summaries)
    assert "scripts.calibrate" not in same and "scripts.calibrate" in bright


def test_photos_that_were_fitted_on_do_not_count(expert: Path, write: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"All 8 sound photos .* fitted on"):
        calibrate(CalibrateConfig(expert_dir=str(expert), normals=str(tmp_path / "fitted")))
    write("fitted", 20, seed=7)
    (tmp_path / "fitted/broken.png").write_bytes(b"no image")
    found = calibrate(CalibrateConfig(expert_dir=str(expert), normals=str(tmp_path / "fitted")))
    assert found.calibration.normals == 20
    assert "Left out: 8 sound photos that the expert was fitted on." in found.describe()
    assert "Left out: 1 photos that cannot be read." in found.describe()


def test_a_folder_with_both_kinds_is_told_apart(expert: Path, write: Write, tmp_path: Path) -> None:
    write("shop/OK", 20, seed=8)
    write("shop/NG/hole", 6, seed=9, bad=True)
    made = calibrate(CalibrateConfig(expert_dir=str(expert), normals=str(tmp_path / "shop"))).calibration
    assert (made.normals, made.defects) == (20, 6)
    shutil.copy(tmp_path / "shop/OK/8 0.png", tmp_path / "shop/NG/hole/copy.png")
    with pytest.raises(UserError, match=r"sound and defective: .*8 0\.png"):
        calibrate(CalibrateConfig(expert_dir=str(expert), normals=str(tmp_path / "shop")))


def test_what_the_photos_do_not_support_is_refused_before_anything_is_loaded(expert: Path, write: Write) -> None:
    sound = str(write("sound", 20, seed=1))
    with pytest.raises(UserError, match="at least 49 sound images"):
        calibrate(CalibrateConfig(expert_dir=str(expert), normals=sound, false_alarms=0.02))
    with pytest.raises(UserError, match="fresh=0"):
        calibrate(CalibrateConfig(expert_dir=str(expert), normals=sound, fresh=0))
    with pytest.raises(UserError, match="Give one of run=RUN"):
        calibrate(CalibrateConfig(normals=sound))
    with pytest.raises(UserError, match="Missing image"):
        calibrate(CalibrateConfig(expert_dir=str(expert), normals="missing"))


def test_sound_photos_of_a_runs_training_data_are_counted(
    write_mvtec: Callable[..., Path], write: Write, tmp_path: Path
) -> None:
    root = write_mvtec(normals=4)
    mdlm = tmp_path / "run/mdlm/fixed"
    mdlm.mkdir(parents=True)
    write_json(mdlm / "config.json", {"data": {"train": [{"reader": "mvtec_ad", "root": str(root)}]}})
    own = CalibrateConfig(run=str(tmp_path / "run"), normals="", description=DescriptionMode.fixed)
    sound = find_photos(str(root / "washer/test/good")).photos
    assert count_trained(sound, own) == 4
    assert count_trained(find_photos(str(write("new", 3, seed=1))).photos, own) == 0
    write_json(mdlm / "config.json", {"data": {"train": [{"reader": "mvtec_ad", "root": str(tmp_path / "gone")}]}})
    assert count_trained(sound, own) == 0


def test_judged_photos_are_calibrated_on_beside_others_or_alone(expert: Path, write: Write, tmp_path: Path) -> None:
    log = JudgementLog(tmp_path / "log")

    def judge(folder: Path, finding: Finding, category: str = "sheet") -> None:
        mask = np.zeros((64, 64), bool)
        mask[20:36, 20:36] = True
        for path in sorted(folder.iterdir()):
            judgement = judged(path.read_bytes(), finding, photo=path.name, category=category)
            log.append(judgement, path, mask if finding is Finding.redrawn else None)

    judge(write("said fine", 12, seed=1), Finding.fine)
    judge(write("said bad", 4, seed=2, bad=True), Finding.redrawn, "")
    judge(write("other", 2, seed=3, bright=90), Finding.fine, "nut")
    alone = calibrate(CalibrateConfig(expert_dir=str(expert), judgements=str(log.folder), false_alarms=0.1))
    assert (alone.calibration.normals, alone.calibration.defects) == (12, 4)
    said = alone.describe()
    assert "12 sound and 4 defective photos, 16 of them judged by the verdict of another model" in said
    assert "Left out: 2 judged as another product than sheet." in said
    assert read_calibration(expert) == alone.calibration
    both = calibrate(
        CalibrateConfig(
            expert_dir=str(expert),
            normals=str(write("sound", 10, seed=4)),
            judgements=str(log.folder),
        )
    )
    assert (both.calibration.normals, both.calibration.defects) == (22, 4)
    with pytest.raises(UserError, match="needs at least 19 sound images"):
        calibrate(CalibrateConfig(expert_dir=str(expert), judgements=str(log.folder)))
    with pytest.raises(UserError, match="Nothing to calibrate on"):
        calibrate(CalibrateConfig(expert_dir=str(expert)))
    with pytest.raises(UserError, match="No judgements in"):
        calibrate(CalibrateConfig(expert_dir=str(expert), judgements=str(tmp_path / "nowhere")))
