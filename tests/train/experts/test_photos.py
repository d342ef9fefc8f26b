import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.sample import Sample
from eval.calibration.file import calibration_path, read_calibration, write_calibration
from eval.segmentation.expert import (
    EvalExpertConfig,
    evaluate_expert,
    fitted_ids,
    identify_expert,
    use_calibrations,
)
from models.experts.frame import Framed
from models.experts.load import load_expert
from models.experts.patchcore import PatchCoreConfig
from models.experts.store import read_gates
from train.experts.fit import FitExpertConfig, fit_expert

WritePhotos = Callable[..., Path]


@pytest.fixture
def write_photos(tmp_path: Path) -> WritePhotos:
    """Grey photos with noise, and defective ones with a white square; masks only where they are asked for."""

    def write(sound: int = 24, defective: int = 6, masks: bool = False, name: str = "washer 7") -> Path:
        draws = np.random.default_rng(0)
        root = tmp_path / name
        for index in range(sound + defective):
            image = draws.integers(60, 120, (64, 64, 3), dtype=np.uint8)
            bad = index >= sound
            if bad:
                image[20:32, 20:32] = 255
            path = root / ("NG/scratch" if bad else "OK parts") / f"IMG {index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            if bad and masks:
                mask = np.zeros((64, 64), np.uint8)
                mask[18:34, 18:34] = 255
                cv2.imwrite(str(path.with_name(f"{path.stem}_mask.png")), mask)
        return root

    return write


def config(images: Path, out: Path, patchcore: PatchCoreConfig, **more: object) -> FitExpertConfig:
    return FitExpertConfig(expert="patchcore", images=str(images), out=str(out), patchcore=patchcore, **more)  # type: ignore[arg-type]


def test_few_photos_are_fitted_and_calibrated_by_cross_validation(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "expert"
    fit_expert(config(write_photos(), out, patchcore))
    made = read_calibration(out, identify_expert("patchcore", str(out), "washer 7"))
    assert made is not None
    assert (made.method, made.normals, made.false_alarms, made.defects) == ("cross_validation", 24, 0.05, 6)
    assert made.found == 1 and made.probability(made.threshold * 10) is not None
    assert len(fitted_ids(str(out))) == 24  # all sound photos, none of the defective ones
    assert read_gates(out)["washer 7"].score == made.threshold
    load_expert("patchcore", str(out)).check(["washer 7"])
    said = capsys.readouterr().out
    assert "washer 7: 24 sound photos, 6 defective ones (6 scratch)" in said
    assert "5 % false alarms" in said and "a weaker guarantee" in said and "Image AUROC 100.0 %" in said
    assert "no masks, so the figures are of whole images only" in said
    assert f"python -m scripts.inspect images=NEW expert=patchcore expert_dir={out}" in said


def test_many_photos_are_held_out(write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path) -> None:
    out = tmp_path / "expert"
    fit_expert(config(write_photos(sound=40, defective=0), out, patchcore, false_alarms=0.1))
    made = read_calibration(out)
    assert made is not None
    assert (made.method, made.normals, made.found, made.scaling) == ("held_out", 9, None, None)


def test_too_few_photos_for_the_rate_get_the_smallest_that_they_support(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "expert"
    fit_expert(config(write_photos(sound=9, defective=2, masks=True), out, patchcore))
    made = read_calibration(out)
    assert made is not None and made.false_alarms == pytest.approx(0.1)
    said = capsys.readouterr().out
    assert "false_alarms=0.05 needs 19 sound photos" in said
    assert "Of 2 photos with a mask, 2 have the peak of their map inside it." in said


def test_bad_photos_are_refused_before_anything_is_fitted(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    out = tmp_path / "expert"
    with pytest.raises(UserError, match=r"Only 3 sound photos of 'few'\. Take at least 5; .* needs 19"):
        fit_expert(config(write_photos(sound=3, name="few"), out, patchcore))
    twice = write_photos(name="twice")
    (twice / "NG/copy.png").write_bytes((twice / "OK parts/IMG 0.png").read_bytes())
    with pytest.raises(UserError, match=r"sound and defective: .*IMG 0\.png and .*copy\.png"):
        fit_expert(config(twice, out, patchcore))
    broken = write_photos(name="broken")
    (broken / "OK parts/IMG 3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 30 photos cannot be used: .*IMG 3\.png"):
        fit_expert(config(broken, out, patchcore))
    (tmp_path / "some/where/unsorted").mkdir(parents=True)
    with pytest.raises(UserError, match="sound photos in good/"):
        fit_expert(config(tmp_path / "some/where", out, patchcore))
    with pytest.raises(UserError, match="leave out dataset"):
        fit_expert(config(broken, out, patchcore, dataset="photos"))
    with pytest.raises(UserError, match="Give images=FOLDER"):
        fit_expert(FitExpertConfig(expert="patchcore", out=str(out)))
    assert not out.exists()


def test_copies_of_a_sound_photo_count_once(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    root, out = write_photos(defective=0), tmp_path / "expert"
    for index in range(10):
        (root / f"OK parts/copy {index}.png").write_bytes((root / "OK parts/IMG 0.png").read_bytes())
    fit_expert(config(root, out, patchcore))
    assert json.loads((out / "calibration.json").read_text())["normals"] == 24


def test_several_products_have_a_calibration_each(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(name="shop/nut")
    write_photos(name="shop/ring", defective=0)
    out = tmp_path / "expert"
    fit_expert(config(tmp_path / "shop", out, patchcore))
    for category in ("nut", "ring"):
        made = read_calibration(out, identify_expert("patchcore", str(out), category), category)
        assert made is not None and made.category == category
    assert read_calibration(out) is None
    assert f"expert_dir={out} category=nut out=DIR" in capsys.readouterr().out


def test_a_folder_in_the_layout_of_a_dataset_keeps_its_test_images(
    write_mvtec: Callable[..., Path], patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    root, out = write_mvtec(normals=20, defects=3), tmp_path / "expert"
    fit_expert(config(root, out, patchcore))
    assert {name.split("/")[2] for name in fitted_ids(str(out))} == {"train"}


def test_a_product_of_a_dataset_with_few_training_images_is_fitted_on_all_sound_ones(
    write_mvtec: Callable[..., Path], patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    root, out = write_mvtec(normals=10, defects=3), tmp_path / "expert"
    (root / "factory.json").write_text("{}")  # a part of a set, and yet a product
    fit_expert(config(root / "washer", out, patchcore))
    made = read_calibration(out)
    assert made is not None and (made.normals, made.false_alarms, made.defects) == (20, 0.05, 3)


def test_photos_without_masks_get_image_metrics_at_the_calibrated_threshold(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    out = tmp_path / "expert"
    fit_expert(config(write_photos(), out, patchcore))
    made = read_calibration(out)
    assert made is not None
    write_calibration(calibration_path(out), replace(made, threshold=made.threshold + 1))  # unlike the gate's
    fresh = write_photos(sound=10, defective=5, name="fresh/washer 7")
    for index, path in enumerate(sorted(fresh.glob("OK parts/*"))):
        path.rename(path.with_name(f"new {index}.png"))  # the same names would be those that were fitted on
    result = evaluate_expert(
        EvalExpertConfig(
            expert="patchcore", expert_dir=str(out), dataset="photos", data_root=str(fresh), out=str(tmp_path / "eval")
        )
    )
    assert result["mean"]["image_auroc"] == 100 and result["mean"]["pixel_auroc"] is None
    assert "without a mask" in result["undefined"]["washer 7"]["pixel"]
    assert result["gate"]["washer 7"]["score_threshold"] == made.threshold + 1
    assert "5 % false alarms" in result["thresholds"]["washer 7"]
    write_calibration(calibration_path(out), replace(made, model="another"))
    with pytest.raises(UserError, match="calibration of another model"):
        load = load_expert("patchcore", str(out))
        use_calibrations(load, "patchcore", str(out), ["washer 7"])


def test_region_and_tiles_are_stored_with_the_expert_and_used_by_all(
    write_photos: WritePhotos, patchcore: PatchCoreConfig, tmp_path: Path
) -> None:
    out, root = tmp_path / "expert", write_photos(masks=True)
    for path in (root / "OK parts").iterdir():
        image = cv2.imread(str(path))
        image[:12] = np.random.default_rng(len(path.name)).integers(0, 255, (12, 64, 3))  # a busy edge
        cv2.imwrite(str(path), image)
    region = np.zeros((64, 64), np.uint8)
    region[14:] = 255
    cv2.imwrite(str(tmp_path / "roi.png"), region)
    fit_expert(config(root, out, patchcore, roi=str(tmp_path / "roi.png"), tiles=2, most_tiles=40))
    made = read_calibration(out)
    assert made is not None and made.found == 1
    expert = load_expert("patchcore", str(out))
    image = np.full((64, 64, 3), 90, np.uint8)
    image[:12] = 255
    sample = Sample(id="photos/washer 7/x", dataset="photos", category="washer 7", split="test", image=Path("x"))
    (found,) = expert.detect([sample], [image])
    assert found.anomaly_map.shape == (64, 64) and found.anomaly_map[:14].max() == found.anomaly_map.min()
    result = evaluate_expert(
        EvalExpertConfig(
            expert="patchcore", expert_dir=str(out), dataset="photos", data_root=str(root), out=str(tmp_path / "eval")
        )
    )
    assert result["images"] == {"total": 6, "normal": 0, "anomalous": 6}  # the sound ones were fitted on
    assert result["mean"]["pixel_auroc"] > 80
    fit_expert(config(root, out, patchcore))
    assert not isinstance(load_expert("patchcore", str(out)), Framed)  # nothing is left of the earlier frame
    with pytest.raises(UserError, match="go with patchcore and ddad"):
        fit_expert(FitExpertConfig(expert="mdlm", images=str(root), out=str(tmp_path / "other"), tiles=2))
