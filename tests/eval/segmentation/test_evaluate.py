from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.compose import FIXED_PROMPT
from data.ddqa.summary import stream_jsonl
from data.errors import UserError
from data.files import append_jsonl, hash_file, read_json, write_json
from data.run import Run
from data.sample import ImageArray
from data.source import DataConfig, Source, load_samples
from data.training.descriptions import DescribeMode, Manner
from eval.gains.tally_file import read_tallies
from eval.report.results import write_results
from eval.segmentation.category_scores import METRICS
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import choose_subset, evaluate_segmentation
from eval.segmentation.prompts import TextSource
from tests.eval.conftest import make_dataset  # type: ignore[import-not-found]

SIZE = 32


@dataclass
class Answer:
    anomaly_map: np.ndarray
    score: float


class Redness:
    """Finds red pixels: the defects of the generated images. Counts what it was asked."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.prompts: list[str] = []
        self.fail_after = fail_after

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[Answer]:
        if self.fail_after is not None and len(self.prompts) >= self.fail_after:
            raise KeyboardInterrupt
        self.prompts += texts
        maps = [(image[..., 0].astype(np.float32) - image[..., 1]) / 255 for image in images]
        return [Answer(anomaly_map, float(anomaly_map.max())) for anomaly_map in maps]


def make_config(run: Run, **changes: object) -> SegmentationConfig:
    sides = [[Source(reader="mvtec_ad", root=str(run.data / side))] for side in ("seen", "unseen")]
    data = DataConfig(train=sides[0], zero_shot=sides[1])
    values = {"preset": "tiny", "run": str(run.path), "data": data, "description": TextSource.fixed, **changes}
    return SegmentationConfig(**values)  # type: ignore[arg-type]


def test_metrics_of_a_perfect_predictor(run: Run) -> None:
    summary = evaluate_segmentation(make_config(run), lambda run, model: Redness())
    assert set(summary["categories"]) == {"tile", "washer"}
    assert all(summary["mean"][metric] == pytest.approx(100) for metric in METRICS)
    assert summary["images"] == {"total": 12, "normal": 6, "anomalous": 6}
    assert summary["resolution"] == "native" and summary["zero_shot"] == "verified"
    assert json.loads((run.eval / "segmentation_without_eddm.json").read_text())["mean"] == summary["mean"]


def test_the_model_follows_the_text_and_can_be_chosen(run: Run) -> None:
    asked = []

    def load(run: Run, model: str) -> Redness:
        asked.append(model)
        return Redness()

    evaluate_segmentation(make_config(run), load)
    evaluate_segmentation(make_config(run, description=TextSource.oracle), load)
    evaluate_segmentation(make_config(run, description=TextSource.oracle, model="fixed", name="other"), load)
    assert asked == ["fixed", "eddm", "fixed"]


def test_the_preset_of_a_result_is_that_of_the_training(run: Run) -> None:
    path = run.mdlm / "fixed" / "config.json"
    write_json(path, read_json(path) | {"preset": "paper"})
    assert evaluate_segmentation(make_config(run), lambda run, model: Redness())["config"]["preset"] == "paper"
    write_json(path, {name: value for name, value in read_json(path).items() if name != "preset"})
    assert evaluate_segmentation(make_config(run), lambda run, model: Redness())["config"]["preset"] == ""


def test_prompts_reach_the_predictor(run: Run) -> None:
    predictor = Redness()
    evaluate_segmentation(make_config(run), lambda run, model: predictor)
    assert predictor.prompts == [FIXED_PROMPT] * 12


def test_with_eddm_reads_the_descriptions(run: Run) -> None:
    config = make_config(run, description=TextSource.eddm)
    with pytest.raises(UserError, match=r"scripts\.describe"):
        evaluate_segmentation(config, lambda run, model: Redness())
    ids = [
        f"mvtec_ad/{path.relative_to(run.data / 'unseen').as_posix()}"
        for path in sorted((run.data / "unseen").glob("*/test/*/*.png"))
    ]
    append_jsonl(
        run.descriptions / "zero_shot.jsonl",
        [{"key": i, "id": i, "image": i, "mode": "structured", "description": f"About {i}."} for i in ids],
    )
    predictor = Redness()
    summary = evaluate_segmentation(config, lambda run, model: predictor)
    assert summary["name"] == "with_eddm"
    assert any("About mvtec_ad/tile/test/hole/004.png." in prompt for prompt in predictor.prompts)


def test_descriptions_of_a_replaced_adapter_are_refused(run: Run) -> None:
    config = make_config(run, description=TextSource.eddm)
    adapter = run.eddm / "adapter" / "adapter_model.safetensors"
    adapter.parent.mkdir(parents=True)
    adapter.write_bytes(b"first")
    write_json(run.eddm / "config.json", {"trained": {"local": False, "base": "a/b", "revision": None}})
    samples = load_samples([Source(reader="mvtec_ad", root=str(run.data / "unseen"))]).samples
    rows = [{"id": s.id, "description": "It is.", "mode": "free", "adapter": hash_file(adapter)[:16]} for s in samples]
    append_jsonl(run.descriptions / "zero_shot.jsonl", rows)
    evaluate_segmentation(config, lambda run, model: Redness())
    write_json(run.mdlm / "eddm" / "manifest.json", {"descriptions": Manner().facts()})
    with pytest.raises(UserError, match="written with mode 'free', wanted is 'structured'"):
        evaluate_segmentation(config, lambda run, model: Redness())
    evaluate_segmentation(
        make_config(run, description=TextSource.eddm, mode=DescribeMode.free), lambda run, model: Redness()
    )
    adapter.write_bytes(b"again")
    with pytest.raises(UserError, match=r"written with adapter .* EDDM was trained again"):
        evaluate_segmentation(
            make_config(run, description=TextSource.eddm, mode=DescribeMode.free), lambda run, model: Redness()
        )


def test_decoys_only(run: Run) -> None:
    config = make_config(run, description=TextSource.shuffled, subset="decoys")
    summary = evaluate_segmentation(config, lambda run, model: Redness())
    assert summary["name"] == "shuffled_decoys"
    assert summary["images"] == {"total": 2, "normal": 0, "anomalous": 2}
    assert summary["left_out_by_subset"] == 10
    assert summary["mean"]["image_auroc"] is None
    assert summary["undefined"]["tile"] == {"image": "no normal image"}


def test_subset_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("mvtec_ad/tile/test/good/000.png\nmvtec_ad/tile/test/hole/003.png\n")
    summary = evaluate_segmentation(make_config(run, subset=str(path)), lambda run, model: Redness())
    assert (summary["images"]["total"], summary["name"]) == (2, "without_eddm_some")
    path.write_text("mvtec_ad/tile/test/good/999.png\n")
    with pytest.raises(UserError, match="unknown samples, first mvtec_ad/tile/test/good/999"):
        evaluate_segmentation(make_config(run, subset=str(path)), lambda run, model: Redness())
    with pytest.raises(UserError, match="No subset 'nope'"):
        choose_subset("nope", [], [])


def test_interrupted_run_goes_on_where_it_stopped(run: Run) -> None:
    config = make_config(run, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_segmentation(config, lambda run, model: Redness(fail_after=4))
    rest = Redness()
    summary = evaluate_segmentation(config, lambda run, model: rest)
    assert len(rest.prompts) == 8
    assert summary["mean"]["pixel_auroc"] == pytest.approx(100)

    def refuse(run: Run, model: str) -> Redness:
        raise AssertionError("nothing is left to predict")

    assert evaluate_segmentation(config, refuse)["categories"] == summary["categories"]


def test_a_changed_model_or_image_is_predicted_again(run: Run) -> None:
    config = make_config(run)
    evaluate_segmentation(config, lambda run, model: Redness())
    image = run.data / "unseen" / "tile" / "test" / "good" / "000.png"
    cv2.imwrite(str(image), np.full((SIZE, SIZE, 3), 77, np.uint8))
    one = Redness()
    evaluate_segmentation(config, lambda run, model: one)
    assert len(one.prompts) == 1
    (run.mdlm / "fixed" / "heads.safetensors").write_bytes(b"other weights")
    everything = Redness()
    evaluate_segmentation(config, lambda run, model: everything)
    assert len(everything.prompts) == 12


def test_an_empty_mask_is_found_before_the_model_looks(run: Run) -> None:
    mask = sorted((run.data / "unseen").rglob("*_mask.png"))[0]
    cv2.imwrite(str(mask), np.zeros((SIZE, SIZE), np.uint8))
    predictor = Redness()
    with pytest.raises(UserError, match=f"1 masks cannot be used: Empty mask: .*{mask.name}"):
        evaluate_segmentation(make_config(run), lambda run, model: predictor)
    assert not predictor.prompts


def test_seen_categories_are_refused(run: Run) -> None:
    with pytest.raises(UserError, match="gear"):
        evaluate_segmentation(make_config(run, part="train"), lambda run, model: Redness())
    summary = evaluate_segmentation(make_config(run, part="train", zero_shot=False), lambda run, model: Redness())
    assert (summary["zero_shot"], summary["name"]) == ("off", "without_eddm_train")


def test_eddm_must_not_have_seen_the_categories_either(run: Run) -> None:
    samples = load_samples([Source(reader="mvtec_ad", root=str(run.data / "unseen"))]).samples
    append_jsonl(run.descriptions / "zero_shot.jsonl", [{"id": s.id, "description": "It is."} for s in samples])
    config = make_config(run, description=TextSource.eddm)
    assert evaluate_segmentation(config, lambda run, model: Redness())["zero_shot"] == "verified"
    append_jsonl(run.ddqa / "train.jsonl", [{"dataset": "mvtec_ad", "category": "tile"}])
    with pytest.raises(UserError, match=r"EDDM was trained on zero-shot categories .*: tile"):
        evaluate_segmentation(config, lambda run, model: Redness())
    (run.ddqa / "train.jsonl").unlink()
    assert "not verified for EDDM" in evaluate_segmentation(config, lambda run, model: Redness())["zero_shot"]


def test_a_split_that_cannot_be_checked_says_so(run: Run) -> None:
    write_json(run.mdlm / "fixed" / "config.json", {"data": {"train": [{"reader": "mvtec_ad", "root": "/gone"}]}})
    assert "not verified" in evaluate_segmentation(make_config(run), lambda run, model: Redness())["zero_shot"]


def test_missing_model_and_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts\.train_mdlm"):
        evaluate_segmentation(make_config(run, model="oracle"), lambda run, model: Redness())
    with pytest.raises(UserError, match="No run directory"):
        evaluate_segmentation(make_config(Run(tmp_path / "none")), lambda run, model: Redness())
    with pytest.raises(UserError, match="No MDLM is called 'base'"):
        evaluate_segmentation(make_config(run, model="base"), lambda run, model: Redness())
    (run.mdlm / "fixed" / "heads.safetensors").unlink()
    with pytest.raises(UserError, match="No trained weights"):
        evaluate_segmentation(make_config(run), lambda run, model: Redness())


def test_a_broken_model_is_named(run: Run) -> None:
    class Broken(Redness):
        def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[Answer]:
            return [Answer(np.full(image.shape[:2], np.nan, np.float32), 0.0) for image in images]

    with pytest.raises(UserError, match=r"NaN values: .*000\.png"):
        evaluate_segmentation(make_config(run), lambda run, model: Broken())


def test_results_file(run: Run) -> None:
    evaluate_segmentation(make_config(run), lambda run, model: Redness())
    write_json(run.eval / "eddm.json", {"AD": 91.5, "RDL": 80.0, "DC": 75.0, "DFM_iou": 40.0, "more": 1})
    results = write_results(run)
    assert results == json.loads(run.results.read_text())
    assert results["eddm"] == {"AD": 91.5, "RDL": 80.0, "DC": 75.0, "DFM_iou": 40.0}
    assert results["segmentation"]["with_eddm"] is None
    without = results["segmentation"]["without_eddm"]
    assert set(without["mean"]) == {"pixel_auroc", "pixel_f1_max", "pixel_ap", "image_auroc"}
    assert set(without["categories"]) == {"tile", "washer"}


def test_results_of_another_dataset_carry_its_name(run: Run) -> None:
    own = evaluate_segmentation(make_config(run), lambda run, model: Redness())
    path = run.eval / "segmentation_without_eddm.json"
    kept = path.read_text()
    elsewhere = run.data / "elsewhere"
    make_dataset(elsewhere, ["bolt"], 5)
    other = make_config(run, dataset="mvtec_ad", data_root=str(elsewhere))
    summary = evaluate_segmentation(other, lambda run, model: Redness())
    assert (own["name"], summary["name"]) == ("without_eddm", "without_eddm_mvtec_ad")
    assert path.read_text() == kept
    assert set(write_results(run)["segmentation"]) == {"with_eddm", "without_eddm", "without_eddm_mvtec_ad"}


def test_other_data_than_that_of_the_training_is_named(run: Run) -> None:
    facts = json.loads((run.mdlm / "fixed" / "config.json").read_text())
    facts["data"]["name"] = "mine"
    write_json(run.mdlm / "fixed" / "config.json", facts)
    names = []
    for name in ("mine", "real"):
        config = make_config(run)
        config.data.name = name
        names.append(evaluate_segmentation(config, lambda run, model: Redness())["name"])
    assert names == ["without_eddm", "without_eddm_real"]


def test_results_that_an_older_version_wrote_are_read_under_their_dataset(run: Run) -> None:
    evaluate_segmentation(make_config(run), lambda run, model: Redness())
    path = run.eval / "segmentation_without_eddm.json"
    summary = json.loads(path.read_text())
    summary["config"] |= {"dataset": "visa", "data_root": "/data/visa"}
    write_json(path, summary)
    found = write_results(run)["segmentation"]
    assert found["without_eddm"] is None and found["without_eddm_visa"]["mean"]["image_auroc"] == pytest.approx(100)


def test_the_questions_are_read_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """EDDM's 280,000 rows are looked through for their categories by one rank, and only when they have changed."""
    monkeypatch.setattr("data.content.SETTLED_SECONDS", -1.0)
    samples = load_samples([Source(reader="mvtec_ad", root=str(run.data / "unseen"))]).samples
    append_jsonl(run.descriptions / "zero_shot.jsonl", [{"id": s.id, "description": "It is."} for s in samples])
    read: list[Path] = []

    def stream(path: Path) -> Iterator[dict[str, Any]]:
        read.append(path)
        return stream_jsonl(path)

    monkeypatch.setattr("eval.segmentation.zero_shot.stream_jsonl", stream)
    config = make_config(run, description=TextSource.eddm)
    for _ in range(2):
        assert evaluate_segmentation(config, lambda run, model: Redness())["zero_shot"] == "verified"
    assert len(read) == 1
    append_jsonl(run.ddqa / "train.jsonl", [{"dataset": "mvtec_ad", "category": "tile"}])
    with pytest.raises(UserError, match="tile"):
        evaluate_segmentation(config, lambda run, model: Redness())


def test_what_did_not_change_is_not_hashed_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.content.SETTLED_SECONDS", -1.0)
    evaluate_segmentation(make_config(run), lambda run, model: Redness())
    monkeypatch.setattr("hashlib.file_digest", lambda file, name: pytest.fail(f"{file.name} is known"))
    assert evaluate_segmentation(make_config(run), lambda run, model: Redness())["new_maps"] == 0


def test_counts_of_single_images_are_those_of_the_figures_beside_them(run: Run) -> None:
    path = run.eval / "segmentation_without_eddm" / "tallies.safetensors"
    summary = evaluate_segmentation(make_config(run), lambda run, model: Redness())
    found = read_tallies(path)
    assert set(found) == set(summary["categories"])
    scores = read_json(path.with_name("image_scores.json"))
    assert [scores[name] for name in found["tile"].ids] == found["tile"].scores.tolist()
    evaluate_segmentation(make_config(run, tally_bins=0), lambda run, model: Redness())
    assert not path.exists()  # they would go with the figures of an earlier evaluation
    with pytest.raises(UserError, match=r"tally_bins=1 is out of range"):
        evaluate_segmentation(make_config(run, tally_bins=1))
