from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.errors import UserError
from data.files import append_jsonl, hash_file, write_json
from data.run import Run
from data.sample import ImageArray
from data.source import DataConfig, Source, load_samples
from data.training.descriptions import Manner
from data.training.grounding import DescriptionMode
from eval.calibration.file import write_calibration
from eval.calibration.make import Scores, make_calibration
from eval.conventions.named import ImageScore
from eval.inspection.sources import identify_eiad
from eval.report.write import ReportConfig, build_report
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.prompts import TextSource
from models.eiad import EIADConfig


class Redness:
    """Finds red pixels, with noise that differs between evaluations."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def predict(self, images: Sequence[ImageArray], texts: Sequence[str]) -> list[SimpleNamespace]:
        random = np.random.default_rng(0)
        maps = []
        for image in images:
            red = (image[..., 0].astype(np.float32) - image[..., 1]) / 160
            maps.append(np.clip(red + self.noise * random.normal(size=red.shape).astype(np.float32), 0, 1))
        return [SimpleNamespace(anomaly_map=anomaly_map, score=float(anomaly_map.max())) for anomaly_map in maps]


def evaluate(run: Run, description: TextSource, subset: str = "", noise: float = 0.1, **measure: Any) -> None:
    sides = [[Source(reader="mvtec_ad", root=str(run.data / side))] for side in ("seen", "unseen")]
    config = SegmentationConfig(
        preset="tiny",
        run=str(run.path),
        data=DataConfig(train=sides[0], zero_shot=sides[1]),
        description=description,
        subset=subset,
        seed=7,
        **measure,
    )
    evaluate_segmentation(config, lambda run, model: Redness(noise))


def describe(name: str) -> str:
    """Of a defective image a structured text, right but for the place of `tile`; of a sound one free text."""
    if "/hole/" not in name:
        return f"<b>Words</b> on {name}."
    return f"The image shows a part. There is a hole at the {'top left' if 'washer' in name else 'bottom'}."


def write_descriptions(run: Run) -> None:
    images = sorted((run.data / "unseen").glob("*/test/*/*.png"))
    ids = [f"mvtec_ad/{path.relative_to(run.data / 'unseen').as_posix()}" for path in images]
    append_jsonl(
        run.descriptions / "zero_shot.jsonl",
        [{"key": i, "id": i, "image": i, "mode": "structured", "description": describe(i)} for i in ids],
    )


@pytest.fixture
def full_run(run: Run) -> Run:
    write_descriptions(run)
    evaluate(run, TextSource.eddm)
    evaluate(run, TextSource.fixed, noise=0.4)
    evaluate(run, TextSource.oracle, "decoys")
    evaluate(run, TextSource.shuffled, "decoys", noise=0.5)
    write_json(run.eval / "eddm.json", {"AD": 91.5, "RDL": 82.5, "DC": 73.5, "DFM_iou": 44.5})
    write_json(run.ddqa / "counts.json", {"train": {"images": 6, "tasks": {"AD": {"mvtec_ad": 6}}, "skipped": []}})
    write_json(run.path / "stages.json", {"build_ddqa": {"fingerprint": "x", "seconds": 12.0, "peak_gib": 0.4}})
    losses = [{"step": step, "loss": 1 / (1 + step)} for step in range(30)]
    append_jsonl(run.mdlm / "eddm" / "log.jsonl", losses)
    write_json(run.mdlm / "eddm" / "config.json", {"preset": "tiny", "seed": 2, "lora": {"r": 16}})
    append_jsonl(run.eddm / "log.jsonl", [{"stage": "lora", **row} for row in losses])
    return run


class Page(HTMLParser):
    """Collects text, addresses and tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def make_report(run: Run) -> Page:
    return Page(build_report(ReportConfig(run=str(run.path))).read_text())


def test_the_page_needs_nothing_else(full_run: Run) -> None:
    page = make_report(full_run)
    assert page.addresses and all(address.startswith("data:") for address in page.addresses)
    assert not {"script", "iframe", "object", "form"} & set(page.tags)
    assert "url(" not in full_run.report.read_text() and "@import" not in full_run.report.read_text()


def test_everything_is_in_the_page(full_run: Run) -> None:
    text = make_report(full_run).text
    for words in (
        "washer",
        "tile",
        "91.5 %",
        "82.5 %",
        "73.5 %",
        "44.5 %",
        "· seed 2 · preset tiny",  # the training's seed, not that of the shuffled texts
        "preset tiny",
        "build ddqa",
        "decoy",
    ):
        assert words in text
    mean = json.loads((full_run.eval / "segmentation_with_eddm.json").read_text())["mean"]
    assert f"{mean['pixel_auroc']:.1f}" in text and f"{mean['pixel_f1_max']:.1f}" in text
    assert "never saw in training" in text
    assert "<b>Words</b> on mvtec_ad/" in text  # descriptions are escaped, not rendered


def test_twins_hold_the_same_figures(full_run: Run) -> None:
    make_report(full_run)
    facts = json.loads(full_run.report.with_suffix(".json").read_text())
    summary = full_run.report.with_suffix(".md").read_text().split("\n## ")[0]
    assert "with EDDM" in summary and "91.5" in summary and "Pixel F1-max" in summary
    cell = facts["segmentation"]["categories"]["tile"]["cells"]["pixel_f1_max"]
    assert cell["delta"] == pytest.approx(cell["with"] - cell["without"])
    markdown = full_run.report.with_suffix(".md").read_text()
    row = next(line for line in markdown.splitlines() if line.startswith("| tile "))
    assert f"{cell['with']:.1f} / {cell['without']:.1f}" in row
    assert cell["low"] <= cell["delta"] <= cell["high"]
    assert json.loads(full_run.results.read_text())["gains"]["eddm"]["categories"]["tile"]["pixel_f1_max"] == {
        name: cell[name] for name in ("delta", "low", "high", "verdict")
    }
    header = next(line for line in markdown.splitlines() if line.startswith("| Category"))
    assert header.count("|") == row.count("|")
    assert facts["data"]["Zero-shot"]["images"] == 12 and len(facts["data"]["Zero-shot"]["sha256"]) == 64
    assert json.loads(full_run.results.read_text())["segmentation"]["with_eddm"]["mean"]["pixel_auroc"]


def tables_of(markdown: str) -> list[list[list[str]]]:
    """The tables of a Markdown text: rows of cells, headers first."""
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()] for table in tables]


def test_every_table_of_pixels_or_image_scores_says_by_which_convention(full_run: Run) -> None:
    text = make_report(full_run).text
    tables = tables_of(full_run.report.with_suffix(".md").read_text())
    figures = [table for table in tables if any("Pixel AUROC" in cell for row in table for cell in row)]
    assert len(figures) == 4  # summary, categories, differences, evaluations
    for table in figures:
        head, _, *rows = table
        assert {row[head.index("Convention")] for row in rows} == {"ours"} and {len(row) for row in table} == {
            len(head)
        }
    assert "· preset tiny · convention ours ·" in text and "images, convention ours, native resolution)" in text
    page = full_run.report.read_text()
    heads = re.findall(r"<thead>.*?</thead>", page, re.DOTALL)
    measured = [head for head in heads if "Pixel AUROC" in head or "With EDDM" in head]
    assert len(measured) == 3 and all("Convention</th>" in head for head in measured)
    assert page.count('<td class="text">ours</td>') == 2 + 1 + 5 + 3  # categories, mean, five figures, three texts


def test_what_was_measured_by_two_conventions_has_no_difference(full_run: Run) -> None:
    small = {"convention": "saa", "resolution": "16", "image_score": ImageScore.maximum}
    evaluate(full_run, TextSource.fixed, noise=0.4, **small)
    facts = facts_of(full_run)
    both = "ours / saa with resolution=16"
    assert facts["segmentation"]["convention"] == facts["gains"]["eddm"]["convention"] == both
    assert facts["gains"]["decoys"]["convention"] == "ours"
    assert {gain["delta"] for gain in facts["gains"]["eddm"]["mean"].values()} == {None}
    assert facts["segmentation"]["categories"]["tile"]["cells"]["pixel_ap"]["without"] is not None
    text = make_report(full_run).text
    assert "No intervals for with_eddm minus without_eddm: they were measured with another resolution." in text
    assert "than without the descriptions" not in text and both in text


def test_a_run_measured_in_part_and_one_of_an_older_version_have_their_report(run: Run) -> None:
    evaluate(run, TextSource.fixed, convention="dinomaly", input_size=64, crop=48, resolution="32", smoothing=1.0)
    assert "convention dinomaly with " in make_report(run).text
    path = run.eval / "segmentation_without_eddm.json"
    summary = json.loads(path.read_text())
    write_json(path, {name: value for name, value in summary.items() if name != "convention"})
    assert "convention not stated" in make_report(run).text


def test_the_data_hash_follows_the_images(full_run: Run) -> None:
    def digest() -> str:
        make_report(full_run)
        return json.loads(full_run.report.with_suffix(".json").read_text())["data"]["Training"]["sha256"]

    before = digest()
    assert digest() == before
    image = next((full_run.data / "seen").glob("*/test/good/*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    assert digest() != before


def test_missing_parts_are_named(run: Run) -> None:
    evaluate(run, TextSource.fixed)
    text = make_report(run).text
    for words in (
        "Not run: segmentation with EDDM",
        "Not run: EDDM's exam",
        "Not recorded: the time of each stage",
        "No training log: EDDM",
        "The decoy check was not run",
        "The exam was not run",
    ):
        assert words in text


def test_an_empty_run_is_refused_and_a_training_alone_is_shown(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "logs").mkdir()
    with pytest.raises(UserError, match=r"Nothing to report: .* python -m scripts\.run_all run_dir=") as refused:
        build_report(ReportConfig(run=str(tmp_path)))
    assert str(tmp_path) in str(refused.value) and not (tmp_path / "report.html").exists()
    write_json(tmp_path / "eddm" / "config.json", {"seed": 0})
    text = make_report(Run(tmp_path)).text
    assert "no segmentation results yet" in text and "Not run: segmentation without EDDM" in text


def test_images_that_are_gone_are_named(full_run: Run) -> None:
    (full_run.data / "unseen").rename(full_run.data / "elsewhere")
    text = make_report(full_run).text
    assert "No gallery: No dataset folder" in text and "Zero-shot data: No dataset folder" in text


def test_missing_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match="No run directory"):
        build_report(ReportConfig(run=str(tmp_path / "none")))


def test_another_dataset_does_not_take_the_place_of_the_runs_own(full_run: Run) -> None:
    before = json.loads((full_run.path / "report.json").read_text()) if make_report(full_run) else {}
    config = SegmentationConfig(
        preset="tiny",
        run=str(full_run.path),
        data=DataConfig(train=[], zero_shot=[]),
        description=TextSource.fixed,
        dataset="mvtec_ad",
        data_root=str(full_run.data / "unseen"),
        categories=["tile"],
    )
    evaluate_segmentation(config, lambda run, model: Redness(0.0))
    make_report(full_run)
    after = json.loads((full_run.path / "report.json").read_text())
    assert set(after["evaluations"]) == {*before["evaluations"], "without_eddm_mvtec_ad"}
    assert (after["segmentation"], after["data"]) == (before["segmentation"], before["data"])


@pytest.mark.parametrize("stale", [{"adapter": "another"}, {"mode": "free"}, {"image_hash": "another"}])
def test_descriptions_of_another_eddm_manner_or_image_are_not_shown_but_named(run: Run, stale: dict[str, str]) -> None:
    evaluate(run, TextSource.fixed)
    adapter = run.eddm / "adapter" / "adapter_model.safetensors"
    adapter.parent.mkdir(parents=True)
    adapter.write_bytes(b"weights")
    write_json(run.eddm / "config.json", {"trained": {"local": False, "base": "a/b", "revision": None}})
    write_json(run.mdlm / "eddm" / "manifest.json", {"descriptions": Manner().facts()})
    samples = load_samples([Source(reader="mvtec_ad", root=str(run.data / "unseen"))]).samples
    fitting = {**Manner().facts(), "adapter": hash_file(adapter)[:16]}
    rows = [{"id": s.id, "description": "So it is.", "image_hash": hash_file(s.image), **fitting} for s in samples]
    append_jsonl(run.descriptions / "zero_shot.jsonl", rows)
    assert "So it is." in make_report(run).text and "Not shown" not in make_report(run).text
    append_jsonl(run.descriptions / "zero_shot.jsonl", [{**row, **stale} for row in rows])
    text = make_report(run).text
    assert "So it is." not in text and "Not shown in the gallery: The description of mvtec_ad/" in text


def test_a_report_hashes_no_image_twice(full_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.content.SETTLED_SECONDS", -1.0)
    make_report(full_run)
    monkeypatch.setattr("hashlib.file_digest", lambda file, name: pytest.fail(f"{file.name} is known"))
    make_report(full_run)


def facts_of(run: Run) -> dict[str, Any]:
    make_report(run)
    return json.loads(run.report.with_suffix(".json").read_text())


def test_a_difference_that_holds_nothing_is_not_shown_as_a_gain(run: Run) -> None:
    write_descriptions(run)
    evaluate(run, TextSource.eddm)
    evaluate(run, TextSource.fixed)  # the same maps
    page = make_report(run)
    assert "in F1-max that is not distinguishable from what it is without EDDM's descriptions" in page.text
    assert "points of F1-max more" not in page.text and "So the difference is" in page.text
    assert 'class="up"' not in run.report.read_text()
    gain = json.loads(run.results.read_text())["gains"]["eddm"]["mean"]["pixel_f1_max"]
    assert gain == {"delta": 0, "low": 0, "high": 0, "verdict": "not distinguishable"}


def test_a_gain_is_shown_with_its_interval(full_run: Run) -> None:
    facts = facts_of(full_run)
    gain = facts["gains"]["eddm"]["mean"]["pixel_f1_max"]
    assert gain["verdict"] == "gain" and 0 < gain["low"] < gain["delta"] < gain["high"]
    text = full_run.report.read_text()
    assert 'class="up"' in text and f"{gain['low']:+.1f} to {gain['high']:+.1f}" in text
    assert facts["gains"]["decoys"]["images"] == 2
    assert "oracle_decoys − shuffled_decoys" in full_run.report.with_suffix(".md").read_text()


def test_evaluations_without_counts_have_no_intervals_and_the_report_says_so(full_run: Run) -> None:
    (full_run.eval / "segmentation_with_eddm" / "tallies.safetensors").unlink()
    text = make_report(full_run).text
    assert "No intervals for with_eddm minus without_eddm: no counts per image of tile: evaluate again." in text
    assert "points of F1-max more than without the descriptions of EDDM." in text


def test_words_are_held_against_truth_and_map(full_run: Run) -> None:
    words = facts_of(full_run)["words"]
    counts = {name: (count["hits"], count["images"]) for name, count in words["counts"].items()}
    assert (words["images"], words["unread"], words["silent"], words["calibrated"]) == (12, 6, 0, False)
    assert counts["defect_claimed"] == counts["kind"] == (6, 6)
    assert counts["sound_called_sound"] == (0, 6)  # what cannot be read claims nothing
    washer = words["categories"]["washer"]
    assert washer["place"]["hits"] > 0 == words["categories"]["tile"]["place"]["hits"]
    assert counts["map_place"][1] == 6
    assert washer["map_place"]["hits"] > 0 == words["categories"]["tile"]["map_place"]["hits"]
    assert json.loads(full_run.results.read_text())["words"] == words
    text = make_report(full_run).text
    assert "None of these products took part in training" in text and "6 of 6" in text


def test_the_calibration_of_another_model_is_named_and_not_used(full_run: Run) -> None:
    sound = Scores([index / 100 for index in range(19)], [0.3] * 19)
    config = EIADConfig(run=str(full_run.path), description=DescriptionMode.eddm)
    path = full_run.path / "calibration.json"
    write_calibration(path, make_calibration(sound, [], rate=0.05, model=identify_eiad(config)))
    facts = facts_of(full_run)
    assert facts["calibration"].startswith("Threshold 0.18:") and facts["calibrated"][0]["normals"] == 19
    assert facts["words"]["threshold"] == pytest.approx(0.3) and facts["words"]["calibrated"]
    (full_run.mdlm / "eddm" / "heads.safetensors").write_bytes(b"trained again")
    facts = facts_of(full_run)
    assert facts["calibration"] == "" and not any(row["normals"] == 19 for row in facts["calibrated"])
    assert facts["words"]["calibrated"] is False
    assert any("Not used: the run's calibration." in text and "another model" in text for text in facts["missing"])
