from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.source import DataConfig, Source, load_samples
from eval.conventions.named import AuproRule, ImageScore
from eval.metrics.pixels import Engine
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from tests.data.readers.conftest import TREES  # type: ignore[import-not-found]
from tests.eval.conftest import SIZE, make_dataset  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"pixel_auroc", "pixel_f1_max", "pixel_ap", "pixel_aupro", "image_auroc", "image_ap", "image_f1_max"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`set`, two categories of six images, and `maps`, their redness in three file formats."""
    make_dataset(tmp_path / "set", ["washer", "tile"], 1)
    for index, path in enumerate(sorted((tmp_path / "set").glob("*/test/*/*.png"))):
        image = cv2.imread(str(path)).astype(np.float32)
        redness = np.clip((image[..., 2] - image[..., 1]) / 255, 0, 1) + np.float32(0.001)
        target = (tmp_path / "maps" / path.relative_to(tmp_path / "set")).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        if index % 3 == 0:
            np.save(f"{target}.npy", redness)
        elif index % 3 == 1:
            cv2.imwrite(f"{target}.tiff", redness)
        else:
            cv2.imwrite(f"{target}.png", (65535 * redness).astype(np.uint16))
    return tmp_path


def make_config(folder: Path, **changes: object) -> SegmentationConfig:
    values: dict[str, object] = {
        "preset": "tiny",
        "data": DataConfig(train=[], zero_shot=[]),
        "dataset": "mvtec_ad",
        "data_root": str(folder / "set"),
        "maps": str(folder / "maps"),
        "out": str(folder / "out"),
    }
    return SegmentationConfig(**{**values, **changes})  # type: ignore[arg-type]


def save(folder: Path, name: str, values: np.ndarray) -> None:
    for path in (folder / "maps" / name).parent.glob(f"{Path(name).name}.*"):
        path.unlink()
    np.save(folder / "maps" / f"{name}.npy", values)


def test_results_and_report(folder: Path) -> None:
    summary = evaluate_segmentation(make_config(folder))
    results = json.loads((folder / "out" / "results.json").read_text())
    assert set(results) == {"mean", "categories"} and set(results["categories"]) == {"tile", "washer"}
    assert set(results["mean"]) == KEYS and set(results["categories"]["tile"]) == KEYS
    assert results["mean"]["pixel_auroc"] == pytest.approx(100)
    assert (summary["resolution"], summary["image_score"]) == ("native", "maximum")
    assert summary["config"]["preset"] == "", "nothing is known of how the maps were made"
    assert summary["map_files"] == {".npy": 4, ".tiff": 4, ".png": 4}
    page = (folder / "out" / "report.html").read_text()
    assert "washer" in page and "native resolution" in page
    assert "| washer | ours | 6 |" in (folder / "out" / "report.md").read_text()
    assert len((folder / "out" / "images.jsonl").read_text().splitlines()) == 12


def test_streaming_brackets_the_exact_figures(folder: Path) -> None:
    exact = evaluate_segmentation(make_config(folder))
    streamed = evaluate_segmentation(
        make_config(folder, engine=Engine.streaming, out=str(folder / "out2"), iou_threshold=0.3)
    )
    for category, values in streamed["categories"].items():
        for name, (low, high) in values["brackets"].items():
            assert low - 1e-9 <= exact["categories"][category][name] <= high + 1e-9
        assert values["pixel_iou"] is not None
    page = (folder / "out2" / "report.html").read_text()
    assert "Brackets" in page and page.count('<th class="text">Convention</th>') == 2
    again = evaluate_segmentation(
        make_config(folder, engine=Engine.streaming, out=str(folder / "out2"), iou_threshold=0.3)
    )
    assert again["categories"] == streamed["categories"]


def test_an_8_bit_png_means_0_to_1(folder: Path) -> None:
    for path in sorted((folder / "maps" / "tile").rglob("*.*")):
        path.unlink()
    for path in sorted((folder / "set" / "tile" / "test").rglob("*.png")):
        target = folder / "maps" / path.relative_to(folder / "set")
        cv2.imwrite(str(target), np.full((SIZE, SIZE), 51, np.uint8))
    summary = evaluate_segmentation(make_config(folder))
    assert summary["undefined"]["tile"] == {"pixel": "all scores are equal", "image": "all scores are equal"}
    scores = json.loads((folder / "out" / "image_scores.json").read_text())
    assert {score for name, score in scores.items() if "/tile/" in name} == {float(np.float32(51) / np.float32(255))}
    assert "all scores are equal" in (folder / "out" / "report.html").read_text()


def test_resolution_is_a_choice(folder: Path) -> None:
    small = np.zeros((16, 16), np.float32)
    small[0, 0] = 1
    save(folder, "tile/test/hole/004", small)
    with pytest.raises(UserError, match=r"1 of 12 .* 16x16, expected 32x32"):
        evaluate_segmentation(make_config(folder))
    assert evaluate_segmentation(make_config(folder, resolution="16"))["resolution"] == "16x16"
    summary = evaluate_segmentation(make_config(folder, resize_maps=True))
    assert summary["categories"]["tile"]["pixel_ap"] < 100
    assert summary["resized_maps"] == ["mvtec_ad/tile/test/hole/004.png"] and summary["vanished_masks"] == []
    assert "resized (1): mvtec_ad/tile/test/hole/004.png" in (folder / "out" / "report.md").read_text()
    again = evaluate_segmentation(make_config(folder, resize_maps=True))
    assert again["resized_maps"] == summary["resized_maps"]
    with pytest.raises(UserError, match="neither native nor"):
        evaluate_segmentation(make_config(folder, resolution="big"))


def test_defects_that_vanish_when_resized_are_listed(folder: Path) -> None:
    path = folder / "set" / "tile" / "ground_truth" / "hole" / "003_mask.png"
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4, 4] = 255
    cv2.imwrite(str(path), mask)
    assert evaluate_segmentation(make_config(folder))["vanished_masks"] == []
    summary = evaluate_segmentation(make_config(folder, resolution="8"))
    assert summary["vanished_masks"] == ["mvtec_ad/tile/test/hole/003.png"]
    assert "no pixel left (1): mvtec_ad/tile/test/hole/003.png" in (folder / "out" / "report.md").read_text()


def test_scoring_maps_needs_no_torch(folder: Path) -> None:
    arguments = [f"maps={folder / 'maps'}", f"data_root={folder / 'set'}", "dataset=mvtec_ad", f"out={folder / 'out'}"]
    program = f"import sys; from scripts.eval_segmentation import main; sys.argv = ['x', *{arguments!r}]; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_image_score(folder: Path) -> None:
    spike = np.zeros((SIZE, SIZE), np.float32)
    spike[0, 0] = 9
    save(folder, "tile/test/good/000", spike)
    assert evaluate_segmentation(make_config(folder))["categories"]["tile"]["image_auroc"] < 100
    mean = evaluate_segmentation(
        make_config(folder, image_score=ImageScore.top_mean, score_fraction=0.2, out=str(folder / "b"))
    )
    assert mean["categories"]["tile"]["image_auroc"] == pytest.approx(100)


def test_all_bad_maps_are_counted_and_named(folder: Path) -> None:
    good = np.ones((SIZE, SIZE), np.float32)
    bad = good.copy()
    bad[3, 3] = np.nan
    save(folder, "tile/test/good/000", bad)
    save(folder, "tile/test/good/001", good.astype(complex))
    save(folder, "tile/test/good/002", np.dstack([good] * 3))
    save(folder, "tile/test/hole/003", good.astype(np.uint8))
    (folder / "maps" / "tile" / "test" / "hole" / "004.npy").write_bytes(b"nothing")
    for path in (folder / "maps" / "tile" / "test" / "hole").glob("004.[!n]*"):
        path.unlink()
    with pytest.raises(UserError) as caught:
        evaluate_segmentation(make_config(folder))
    text = str(caught.value)
    for part in ("5 of 12", "1 NaN values", "complex128", r"(32, 32, 3)", "uint8", "Unreadable anomaly map"):
        assert part in text
    assert len((folder / "out" / "images.jsonl").read_text().splitlines()) == 7
    for name in ("good/000", "good/001", "good/002", "hole/003", "hole/004"):
        save(folder, f"tile/test/{name}", good)
    assert evaluate_segmentation(make_config(folder))["images"]["total"] == 12


def test_missing_double_and_extra_maps(folder: Path) -> None:
    image = sorted((folder / "maps" / "tile" / "test" / "hole").glob("003.*"))[0]
    kept = image.read_bytes()
    image.unlink()
    with pytest.raises(UserError, match=r"1 images have no map .*tile/test/hole/003"):
        evaluate_segmentation(make_config(folder))
    image.write_bytes(kept)
    extra = folder / "maps" / "tile" / "stray.npy"
    np.save(extra, np.zeros((2, 2), np.float32))
    with pytest.raises(UserError, match=r"1 maps .* belong to no image .*stray"):
        evaluate_segmentation(make_config(folder))
    summary = evaluate_segmentation(make_config(folder, allow_extra_maps=True))
    assert summary["extra_maps"] == [str(extra)]
    extra.unlink()
    only = evaluate_segmentation(make_config(folder, categories=["tile"]))
    assert (only["unused_maps"], only["images"]["total"]) == (6, 6)
    other = ".tif" if image.suffix == ".npy" else ".npy"
    image.with_suffix(other).write_bytes(kept)
    with pytest.raises(UserError, match="1 images have several maps"):
        evaluate_segmentation(make_config(folder))


def test_what_does_not_go_together(folder: Path) -> None:
    for changes, match in [
        ({"run": "r"}, "either run="),
        ({"out": ""}, "maps= needs"),
        ({"dataset": ""}, "belong together"),
        ({"flip": True}, "go with run="),
        ({"image_score": ImageScore.model}, "needs a model"),
        ({"image_score": ImageScore.half}, "needs a model"),
        ({"aupro_limit": 0.0}, "aupro_limit"),
        ({"aupro_rule": AuproRule.legacy, "engine": Engine.streaming}, "engine=exact"),
        ({"spro_limit": 0.05}, "needs dataset=mvtec_loco"),
        ({"per_object": True}, "names no object"),
        ({"maps": str(folder / "none")}, "No folder of anomaly maps"),
        ({"maps": str(folder / "set")}, "same folder"),
    ]:
        with pytest.raises(UserError, match=match):
            evaluate_segmentation(make_config(folder, **changes))


def test_maps_of_images_that_a_reader_skips_by_rule_are_no_extra_ones(tmp_path: Path) -> None:
    root = tmp_path / "eyecandies"
    root.mkdir()
    TREES["eyecandies"](root)
    listing = load_samples([Source(reader="eyecandies", root=str(root))])
    assert listing.skipped, "the dataset has a private test split"
    names = [sample.id for sample in listing.samples] + [name for name, _ in listing.skipped]
    for name in names:
        target = (tmp_path / "maps" / name.split("/", 1)[1]).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, np.random.default_rng(0).random((SIZE, SIZE), np.float32))
    settings = make_config(
        tmp_path, dataset="eyecandies", data_root=str(root), splits=[], resize_maps=True, skip_empty_masks=True
    )
    summary = evaluate_segmentation(settings)
    assert summary["unused_maps"] == len(names) - summary["images"]["total"] > 0 and summary["extra_maps"] == []


def test_the_dataset_may_be_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "nut"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name in ("a", "b"):
        cv2.imwrite(str(root / "images" / f"{name}.png"), np.full((8, 8, 3), 90, np.uint8))
        (tmp_path / "maps" / "images").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "maps" / "images" / f"{name}.npy", np.random.default_rng(0).random((8, 8), np.float32))
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:4] = 255
    cv2.imwrite(str(root / "masks" / "b.png"), mask)
    monkeypatch.chdir(root)
    summary = evaluate_segmentation(make_config(tmp_path, dataset="folder", data_root="."))
    assert summary["images"]["total"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["exact", "streaming"])
def test_two_ranks_equal_one_process(folder: Path, engine: str) -> None:
    evaluate_segmentation(make_config(folder, engine=Engine(engine)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [f"{name}={folder / name}" for name in ("maps",)] + [f"data_root={folder / 'set'}", "dataset=mvtec_ad"]
    command = [*launch, "-m", "scripts.eval_segmentation", *arguments, f"out={folder / 'two'}", f"engine={engine}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = ((folder / name / "results.json").read_text() for name in ("out", "two"))
    assert one == two
    assert sorted(path.name for path in (folder / "two").glob("images*")) == ["images.jsonl"]
