"""The driver behind `eval_segmentation run=`, `eval_segmentation maps=` and `eval_expert`: one test for all three."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.files import read_jsonl
from data.ranks import Ranks
from data.run import Run
from data.sample import ImageArray, Sample, load_image
from data.source import DataConfig, Listing, Source, load_samples
from eval.conventions.named import AuproRule, ImageScore, MaskRule
from eval.metrics.pixels import Engine
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.expert import EvalExpertConfig, evaluate_expert
from eval.segmentation.prompts import TextSource
from models.experts.expert import Detection, Gate
from models.experts.store import write_gates

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("run", "maps", "expert")
IMAGES = 12
CONVENTION = {"mask_rule": MaskRule.bilinear, "aupro_rule": AuproRule.legacy, "ader_figures": True}


def redness(image: ImageArray) -> np.ndarray:
    return np.clip((image[..., 0].astype(np.float32) - image[..., 1]) / 255, 0, 1) + np.float32(0.001)


@dataclass
class Eye:
    """A model and an expert that see red; counts the images that it looked at."""

    looks: list[int] = field(default_factory=list)
    name: str = "eye"
    sees_truth: bool = False
    gates: dict[str, Gate] = field(default_factory=lambda: dict.fromkeys(("tile", "washer"), Gate(0.3, 0.3)))

    @property
    def looked(self) -> int:
        return sum(self.looks)

    def check(self, categories: Sequence[str]) -> None: ...

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[Detection]:
        self.looks.append(len(images))
        return [Detection(found := redness(image), float(np.median(found)), Gate(0.3, 0.3)) for image in images]

    def detect(self, samples: Sequence[Sample], images: Sequence[ImageArray]) -> list[Detection]:
        return self.predict(images, [])


@dataclass
class Bench:
    """The three commands on one dataset; each makes the same maps."""

    run: Run
    folder: Path
    eye: Eye

    @property
    def root(self) -> Path:
        return self.run.data / "unseen"

    def evaluate(self, kind: str, *, out: str = "out", **changes: Any) -> dict[str, Any]:
        shared = {"dataset": "mvtec_ad", "data_root": str(self.root), "batch_size": 5, **changes}
        shared["out"] = str(self.folder / kind / out)
        if kind == "expert":
            return evaluate_expert(EvalExpertConfig(expert="patchcore", expert_dir=str(self.folder / "fit"), **shared))
        which = {"maps": str(self.folder / "maps")} if kind == "maps" else {"run": str(self.run.path)}
        config = SegmentationConfig(
            data=DataConfig(train=[], zero_shot=[]), description=TextSource.fixed, **which, **shared
        )
        return evaluate_segmentation(config, lambda run, model: self.eye)

    def scores(self, kind: str, out: str = "out") -> dict[str, float]:
        found = sorted((self.folder / kind / out).rglob("image_scores.json"))
        return json.loads(found[-1].read_text())


@pytest.fixture
def bench(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench(run, tmp_path, Eye())
    for sample in load_samples([Source(reader="mvtec_ad", root=str(found.root))]).samples:
        target = (tmp_path / "maps" / sample.image.relative_to(found.root)).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, redness(load_image(sample.image)))
    write_gates(tmp_path / "fit", found.eye.gates)
    monkeypatch.setattr("eval.segmentation.expert.load_expert", lambda name, folder, **how: found.eye)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"image_score": ImageScore.maximum},
        {"image_score": ImageScore.maximum, "resolution": "8"},
        {"image_score": ImageScore.top_mean, "score_fraction": 0.1, "resolution": "16"},
        {"image_score": ImageScore.maximum, "engine": Engine.streaming, "iou_threshold": 0.4},
        {"image_score": ImageScore.maximum, "resolution": "16", "smoothing": 1.0, **CONVENTION},
    ],
)
def test_the_same_maps_give_the_same_figures_wherever_they_come_from(bench: Bench, changes: dict[str, Any]) -> None:
    found = [bench.evaluate(kind, **changes) for kind in KINDS]
    for one in found[1:]:
        for name in ("mean", "categories", "resolution", "image_score", "images", "vanished_masks"):
            assert one[name] == found[0][name], name
    assert bench.scores("run") == bench.scores("maps") == bench.scores("expert")
    reports = [(bench.folder / kind / "out" / "results.json").read_text() for kind in KINDS]
    assert reports[0] == reports[1] == reports[2]


def test_the_image_score_is_read_at_the_resolution_of_the_evaluation(bench: Bench) -> None:
    """Noise has its maximum in single pixels, which a smaller map averages away."""
    for kind in KINDS:
        bench.evaluate(kind, image_score=ImageScore.maximum)
        native = bench.scores(kind)
        said = bench.evaluate(kind, image_score=ImageScore.maximum, resolution="8")
        assert (said["resolution"], said["image_score"]) == ("8x8", "maximum")
        assert all(bench.scores(kind)[name] < score for name, score in native.items() if "/good/" in name)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_the_score_that_comes_with_a_map(bench: Bench, kind: str) -> None:
    summary = bench.evaluate(kind)
    assert summary["image_score"] == ("maximum" if kind == "maps" else "model")


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_figures_follow_resolution_and_masks(bench: Bench, kind: str) -> None:
    def stream(**changes: Any) -> dict[str, Any]:
        return bench.evaluate(kind, engine=Engine.streaming, **changes)["categories"]

    native = stream()
    small = stream(resolution="8")
    assert small["tile"]["brackets"] != native["tile"]["brackets"]
    assert small == bench.evaluate(kind, out="fresh", engine=Engine.streaming, resolution="8")["categories"]
    for path in (bench.root / "tile" / "ground_truth" / "hole").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[::-1])
    corrected = stream()
    assert corrected["tile"]["pixel_ap"] < native["tile"]["pixel_ap"] and corrected["washer"] == native["washer"]
    assert bench.eye.looked in (0, IMAGES, 2 * IMAGES), "corrected masks cost no look"


@pytest.mark.parametrize("kind", ["run", "expert"])
def test_a_look_at_a_part_or_another_score_asks_no_model(bench: Bench, kind: str) -> None:
    whole = bench.evaluate(kind)
    assert (bench.eye.looked, whole["new_maps"]) == (IMAGES, IMAGES)
    part = bench.evaluate(kind, categories=["tile"])
    assert set(part["categories"]) == {"tile"} and part["new_maps"] == 0
    for fraction in (0.1, 0.2):
        bench.evaluate(kind, image_score=ImageScore.top_mean, score_fraction=fraction)
    bench.evaluate(kind, resolution="16", engine=Engine.streaming)
    assert bench.evaluate(kind)["categories"] == whole["categories"]
    assert bench.eye.looked == IMAGES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"smoothing": 2.0},
        {"mask_rule": MaskRule.bilinear, "resolution": "13"},
        {"input_size": 24, "crop": 16},
        {"image_score": ImageScore.maximum, "smoothing": 2.0},
    ],
)
def test_conventions_never_mix(bench: Bench, kind: str, changes: dict[str, Any]) -> None:
    """What one convention made or counted is not taken for another's, and each finds its own again."""
    engine = Engine.streaming
    plain = bench.evaluate(kind, engine=engine)
    other = bench.evaluate(kind, engine=engine, **changes)
    assert other["categories"] != plain["categories"]
    assert other["convention"].startswith("ours with ") and plain["convention"] == "ours"
    assert other["categories"] == bench.evaluate(kind, out="fresh", engine=engine, **changes)["categories"]
    again = bench.evaluate(kind, engine=engine)
    assert again["categories"] == plain["categories"]


@pytest.mark.parametrize("kind", ["run", "expert"])
def test_only_what_is_shown_costs_a_look(bench: Bench, kind: str) -> None:
    bench.evaluate(kind)
    bench.evaluate(kind, smoothing=2.0, image_score=ImageScore.half, **CONVENTION)
    assert bench.eye.looked == IMAGES
    bench.evaluate(kind, input_size=24, crop=16)
    assert bench.eye.looked == 2 * IMAGES
    with pytest.raises(UserError, match="'oracle' does not go by pixels alone"):
        evaluate_expert(EvalExpertConfig(expert="oracle", convention="dinomaly", input_size=448, crop=392))


def test_half_of_what_is_said_and_half_of_the_map(bench: Bench) -> None:
    found = {}
    for kind in (ImageScore.model, ImageScore.maximum, ImageScore.half):
        bench.evaluate("run", image_score=kind)
        found[kind] = bench.scores("run")
    for name, score in found[ImageScore.half].items():
        assert score == pytest.approx((found[ImageScore.model][name] + found[ImageScore.maximum][name]) / 2)


def test_a_report_says_whose_rules_it_follows(bench: Bench) -> None:
    bench.evaluate("maps", convention="saa", resolution="16", image_score=ImageScore.maximum, **CONVENTION)
    folder = bench.folder / "maps" / "out"
    markdown, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    label = "saa with resolution=16, mask_rule=bilinear, aupro_rule=legacy, ader_figures=True"
    assert f"| tile | {label} |" in markdown and label in page
    assert "is not comparable with the exact AUPRO beside it" in markdown and "AUPRO, legacy" in page
    mean = json.loads((folder / "results.json").read_text())["mean"]
    assert {"pixel_aupro", "pixel_aupro_legacy", "pixel_miou_max", "pixel_f1_mean"} <= mean.keys()


@pytest.mark.parametrize("kind", ["run", "expert"])
def test_averaged_looks_are_maps_of_their_own(bench: Bench, kind: str) -> None:
    plain = bench.evaluate(kind)
    averaged = bench.evaluate(kind, flip=True, scales=[0.5, 1.0])
    assert bench.eye.looked == IMAGES + 4 * IMAGES and averaged["new_maps"] == IMAGES
    thresholds = [one["categories"]["tile"]["pixel_f1_threshold"] for one in (plain, averaged)]
    assert thresholds[1] < thresholds[0]
    with pytest.raises(UserError, match="'oracle' does not go by pixels alone"):
        evaluate_expert(EvalExpertConfig(expert="oracle", flip=True))


@pytest.mark.parametrize("flip", [False, True])
def test_threads_make_images_ready_for_a_model_that_says_how(bench: Bench, flip: bool) -> None:
    threads, main = set(), threading.get_ident()

    class Ready(Eye):
        def ready(self, image: ImageArray) -> tuple[ImageArray]:
            threads.add(threading.get_ident())
            return (image,)

        def predict(self, images: Sequence[Any], texts: Sequence[str]) -> list[Detection]:
            return super().predict([image for (image,) in images], texts)

    plain = bench.evaluate("run", flip=flip)
    bench.eye = Ready()
    ready = bench.evaluate("run", out="ready", flip=flip, workers=3)
    assert ready["categories"] == plain["categories"] and bench.eye.looked == IMAGES * (1 + flip)
    assert threads and main not in threads


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_off_evaluation_goes_on(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sees, calls = Eye.predict, []

    def give_up(eye: Eye, images: Sequence[ImageArray], texts: Sequence[str]) -> list[Detection]:
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sees(eye, images, texts)

    if kind == "maps":
        path = bench.folder / "maps" / "washer" / "test" / "hole" / "005.npy"
        kept = path.read_bytes()
        path.write_bytes(b"cut off")
        with pytest.raises(UserError, match=r"1 of 12 anomaly maps cannot be scored: Unreadable .*005"):
            bench.evaluate(kind)
        path.write_bytes(kept)
        assert bench.evaluate(kind)["new_maps"] == 1
        return
    monkeypatch.setattr(Eye, "predict", give_up)
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(kind)
    monkeypatch.setattr(Eye, "predict", sees)
    assert bench.evaluate(kind)["new_maps"] == IMAGES - 5
    assert bench.eye.looked == IMAGES


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_with_a_nan_is_named(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = np.full((32, 32), np.nan, np.float32)
    if kind == "maps":
        np.save(bench.folder / "maps" / "tile" / "test" / "good" / "000.npy", broken)
    monkeypatch.setattr(Eye, "predict", lambda eye, images, texts: [Detection(broken, 0.0, Gate(1, 1)) for _ in images])
    with pytest.raises(UserError, match=r"of 12 anomaly maps cannot be scored: .*NaN values: .*000\."):
        bench.evaluate(kind)


def test_categories_of_two_datasets_stay_apart(run: Run) -> None:
    """Both have a `tile`: its pixels must not be ranked together."""
    visa = run.data / "copies" / "tile"
    for part in ("images", "masks"):
        (visa / part).mkdir(parents=True)
    for sample in load_samples([Source(reader="mvtec_ad", root=str(run.data / "unseen"), categories=["tile"])]).samples:
        image = 255 - load_image(sample.image)
        cv2.imwrite(str(visa / "images" / sample.image.name), image)
    sources = [
        Source(reader="mvtec_ad", root=str(run.data / "unseen")),
        Source(reader="folder", root=str(run.data / "copies")),
    ]
    config = SegmentationConfig(
        preset="tiny",
        run=str(run.path),
        data=DataConfig(train=[], zero_shot=sources),
        description=TextSource.fixed,
    )
    summary = evaluate_segmentation(config, lambda run, model: Eye())
    assert {name: values["images"] for name, values in summary["categories"].items()} == {
        "folder/tile": 6,
        "mvtec_ad/tile": 6,
        "mvtec_ad/washer": 6,
    }


def test_the_oracle_is_asked_again_only_where_its_mask_changed(run: Run, tmp_path: Path) -> None:
    root = run.data / "unseen"
    config = EvalExpertConfig(expert="oracle", dataset="mvtec_ad", data_root=str(root), out=str(tmp_path / "out"))
    assert evaluate_expert(config)["new_maps"] == IMAGES
    assert evaluate_expert(config)["new_maps"] == 0
    path = root / "tile" / "ground_truth" / "hole" / "003_mask.png"
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[::-1])
    again = evaluate_expert(config)
    assert again["new_maps"] == 1 and again["mean"]["pixel_auroc"] == 100


def test_a_new_gate_needs_no_new_maps(bench: Bench) -> None:
    first = bench.evaluate("expert")
    bench.eye.gates = dict.fromkeys(("tile", "washer"), Gate(-1.0, 0.5))
    write_gates(bench.folder / "fit", bench.eye.gates)
    second = bench.evaluate("expert")
    assert second["new_maps"] == 0 and second["gate"] != first["gate"]
    assert second["gate"]["tile"]["normal_passed"] == 0


class Meeting:
    """Where two ranks, threads of this process, exchange values."""

    def __init__(self) -> None:
        self.barrier, self.values = threading.Barrier(2, timeout=60), [None, None]

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    meeting: Meeting = field(default_factory=Meeting)

    def wait(self) -> None:
        self.gather(None)

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]

    def gather(self, value: Any) -> list[Any]:
        return self.meeting.exchange(self.rank, value)


@pytest.mark.parametrize("kind", KINDS)
def test_one_rank_prepares_and_all_share_the_images(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = bench.evaluate(kind, out="alone", engine=Engine.streaming)
    bench.eye.looks.clear()
    own, prepared, meeting = threading.local(), [], Meeting()

    def load(sources: Sequence[Source]) -> Listing:
        prepared.append(own.ranks.rank)
        return load_samples(sources)

    def work(rank: int) -> dict[str, Any]:
        own.ranks = ThreadRanks(rank, 2, meeting)
        return bench.evaluate(kind, engine=Engine.streaming)

    for module in ("evaluate", "expert"):
        monkeypatch.setattr(f"eval.segmentation.{module}.join_ranks", lambda: own.ranks)
        monkeypatch.setattr(f"eval.segmentation.{module}.load_samples", load)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, range(2)))
    assert found[0]["categories"] == found[1]["categories"] == alone["categories"]
    assert set(prepared) == {0}, "the other rank is told"
    assert bench.eye.looked == (0 if kind == "maps" else IMAGES), "no image is looked at twice"
    assert len(read_jsonl(next((bench.folder / kind / "out").rglob("images.jsonl")))) == IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("command", ["eval_segmentation", "eval_expert"])
def test_two_ranks_share_the_images_and_give_the_same_figures(bench: Bench, command: str) -> None:
    maps = bench.folder / "maps"
    write_gates(maps, bench.eye.gates)
    which = [f"maps={maps}"] if command == "eval_segmentation" else ["expert=precomputed", f"expert_dir={maps}"]
    arguments = [*which, "dataset=mvtec_ad", f"data_root={bench.root}", "engine=streaming"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    results = {}
    for name, start in (("one", [sys.executable, "-m"]), ("two", launch)):
        done = subprocess.run(
            [*start, f"scripts.{command}", *arguments, f"out={bench.folder / name}"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        results[name] = (bench.folder / name / "results.json").read_text()
        assert len(read_jsonl(bench.folder / name / "images.jsonl")) == IMAGES
    assert results["one"] == results["two"]
