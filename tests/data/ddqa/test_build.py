import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from data.ddqa.build import build_ddqa
from data.ddqa.config import AnswerOrder, BoxFormat, DDQAConfig, OnError
from data.ddqa.tasks import LETTERS, RegionRule
from data.ddqa.wording import PAPER_TASKS, QUESTIONS, Task, Wording, wordings
from data.errors import UserError
from data.files import read_json
from data.source import DataConfig, Listing, Source, load_samples


def config(root: Path, run_dir: Path, **changes) -> DDQAConfig:
    source = Source(reader="mvtec_ad", root=str(root))
    return DDQAConfig(preset="tiny", run_dir=str(run_dir), data=DataConfig(train=[source], zero_shot=[]), **changes)


def test_rules_counts_and_rows(write_mvtec, tmp_path: Path) -> None:
    counts = build_ddqa(config(write_mvtec(normals=3, defects=20), tmp_path))
    assert counts == {
        "AD": {"mvtec_ad": 26},
        "RDL": {"mvtec_ad": 20},
        "DFM": {"mvtec_ad": 20},
        "DC": {"mvtec_ad": 20},
    }
    rows = [json.loads(line) for line in (tmp_path / "ddqa/train.jsonl").read_text().splitlines()]
    assert len(rows) == 86
    for row in rows:
        user, assistant = row["messages"]
        assert user["content"].startswith("<image>")
        assert len(row["images"]) == 1
        assert (tmp_path / row["images"][0]).is_file()
        assert assistant["content"] == row["answer"]
        if row["task"] in ("RDL", "DC"):
            assert row["answer"] in LETTERS[: len(row["options"])]
            assert len(set(row["options"])) == 4
    letters = Counter(row["answer"] for row in rows if row["task"] == "RDL")
    assert max(letters.values()) - min(letters.values()) <= 1


def test_workers_do_not_change_the_bytes_but_the_seed_does(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(normals=2, defects=9)
    files = {}
    for name, changes in {"one": {"workers": 1}, "two": {"workers": 2}, "seed": {"seed": 1}}.items():
        build_ddqa(config(root, tmp_path / name, **changes))
        files[name] = (tmp_path / name / "ddqa/train.jsonl").read_bytes()
    assert files["one"] == files["two"]
    assert files["one"] != files["seed"]


def test_no_ad_without_normal_images(write_mvtec, tmp_path: Path) -> None:
    counts = build_ddqa(config(write_mvtec(normals=0, defects=2), tmp_path))
    assert counts["AD"] == {"mvtec_ad": 0}


def test_nothing_to_ask_is_an_error_and_writes_no_counts(write_mvtec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No question could be built"):
        build_ddqa(config(write_mvtec(defects=0), tmp_path, tasks=[Task.DC]))
    assert not (tmp_path / "ddqa/counts.json").exists()


def test_a_corrupt_image_stops_the_build_and_is_named(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec()
    (root / "washer/test/scratch/001.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"Corrupt image: .*001\.png"):
        build_ddqa(config(root, tmp_path))
    assert not (tmp_path / "ddqa/train.jsonl").exists()


def published(root: Path, out: Path, **changes) -> DDQAConfig:
    return DDQAConfig(preset="paper", sources=["mvtec_ad"], paths={"mvtec_ad": str(root)}, out=str(out), **changes)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_published_form(write_mvtec, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_ddqa(published(write_mvtec(normals=3, defects=5), out))
    tasks = {task: read(out / f"Task_{task}.jsonl") for task in ("AD", "RDL", "DFM", "DC")}
    assert read_json(out / "stats.json") == {"mvtec_ad": {task: len(rows) for task, rows in tasks.items()}}
    assert {task: len(rows) for task, rows in tasks.items()} == {"AD": 11, "RDL": 5, "DFM": 5, "DC": 5}
    everything = read(out / "train.jsonl")
    assert all({row["task"] for row in rows} == {task} for task, rows in tasks.items())
    assert sorted(map(json.dumps, everything)) == sorted(json.dumps(row) for rows in tasks.values() for row in rows)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["train.jsonl", "stats.json", "samples.jsonl", *[f"Task_{task}.jsonl" for task in tasks]]
    )
    facts = read(out / "samples.jsonl")
    assert len(facts) == 11
    defective = next(fact for fact in facts if fact["defect"])
    assert (defective["size"], len(defective["boxes"]), defective["areas"]) == ([64, 48], 1, [64])


def test_files_of_two_builds_are_never_read_as_one(write_mvtec, tmp_path: Path, monkeypatch) -> None:
    out, root = tmp_path / "out", write_mvtec()
    build_ddqa(published(root, out))
    names = {path.name for path in out.iterdir()}
    replace_file = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == "train.jsonl":  # the last of them
            raise KeyboardInterrupt
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        build_ddqa(replace(published(root, out), seed=1))
    assert {path.name for path in out.iterdir()} == names - {"stats.json"}  # without it nobody reads the others
    monkeypatch.setattr(Path, "replace", replace_file)
    build_ddqa(replace(published(root, out), seed=1))
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize("task", ["AD", "RDL", "DC"])
def test_letters_are_balanced_per_task_and_source(task: str, write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(normals=4, defects=22)
    build_ddqa(published(root, tmp_path / "out", ad_options=AnswerOrder.balanced))
    rows = read(tmp_path / "out" / f"Task_{task}.jsonl")
    letters = Counter(row["answer"] for row in rows)
    assert len(letters) == (2 if task == "AD" else 4)
    assert max(letters.values()) - min(letters.values()) <= 1
    for row in rows:
        right = row["options"][ord(row["answer"]) - ord("A")]
        if task == "AD":
            assert right == ("Yes." if row["defect"] else "No.")
        if task == "DC":
            assert right == row["defect"]


def test_ad_keeps_the_order_of_the_paper_by_default(write_mvtec, tmp_path: Path) -> None:
    build_ddqa(published(write_mvtec(), tmp_path / "out"))
    for row in read(tmp_path / "out/Task_AD.jsonl"):
        assert row["options"] == ["No.", "Yes."]
        assert row["answer"] == ("B" if row["defect"] else "A")


def test_paraphrases_only_on_request(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(normals=8, defects=8)
    found = {}
    for wording in Wording:
        build_ddqa(published(root, tmp_path / wording, wording=wording))
        found[wording] = {
            task: {
                row["messages"][0]["content"].split("\n")[0] for row in read(tmp_path / wording / f"Task_{task}.jsonl")
            }
            for task in PAPER_TASKS
        }
    for task in PAPER_TASKS:
        assert found[Wording.paper][task] == {f"<image>{QUESTIONS[task]}"}
        assert len(found[Wording.paraphrased][task]) > 1
        assert found[Wording.paraphrased][task] <= {f"<image>{text}" for text in wordings(task, Wording.paraphrased)}


def test_native_boxes_keep_the_answer_beside_them(write_mvtec, tmp_path: Path) -> None:
    build_ddqa(published(write_mvtec(), tmp_path / "out", box_format=BoxFormat.swift))
    for row in read(tmp_path / "out/Task_DFM.jsonl"):
        assert row["messages"][1]["content"] == "<bbox>"
        ((x0, y0, x1, y1),) = row["objects"]["bbox"]
        assert (x1 - x0, y1 - y0) == (8, 8)
        assert row["answer"] == f"[{x0 / 64:.3f}, {y0 / 48:.3f}, {x1 / 64:.3f}, {y1 / 48:.3f}]"
    assert all("objects" not in row for row in read(tmp_path / "out/Task_RDL.jsonl"))


def test_images_that_other_programs_see_otherwise_are_counted(
    write_mvtec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_mvtec()
    first, second, *_ = sorted(root.rglob("test/good/*.png"))
    deep = cv2.imread(str(first)).astype(np.uint16) * 256
    assert cv2.imwrite(str(first), deep)
    exif = Image.Exif()
    exif[274] = 3
    Image.open(second).save(second, exif=exif)
    build_ddqa(published(root, tmp_path / "out"))
    assert f"2 images (first: {first}): turned" in caplog.text and "scripts.train_eddm" in caplog.text
    caplog.clear()
    build_ddqa(config(root, tmp_path / "run"))
    assert "turned" not in caplog.text


def test_description_is_a_fifth_task_on_request(write_mvtec, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_ddqa(published(write_mvtec(), out, tasks=[Task.AD, Task.description]))
    texts = {row["defect"]: row["answer"] for row in read(out / "Task_description.jsonl")}
    assert texts[None] == "The image shows a washer. There is no visible defect."
    assert texts["scratch"].startswith("The image shows a washer. There is a scratch at the ")
    assert not (out / "Task_RDL.jsonl").exists()
    build_ddqa(published(write_mvtec("again"), out))
    assert not (out / "Task_description.jsonl").exists(), "a file of an earlier build must not stay"


def test_region_rules_reach_the_rows(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(defects=1)
    mask = np.zeros((48, 64), np.uint8)
    mask[2:12, 2:12] = 255  # the largest: top left
    mask[34:40, 44:60] = mask[42:47, 44:60] = 255  # two that hold more together: bottom right
    cv2.imwrite(str(root / "washer/ground_truth/scratch/000_mask.png"), mask)
    answers = {}
    for rule in RegionRule:
        build_ddqa(published(root, tmp_path / rule, region_rule=rule))
        rows = read(tmp_path / rule / "Task_RDL.jsonl")
        answers[rule.value] = [row["options"][ord(row["answer"]) - ord("A")] for row in rows]
    assert answers == {
        "largest_centroid": ["top left"],
        "union_centroid": ["center"],
        "most_pixels": ["bottom right"],
        "skip_ambiguous": [],
    }


def test_held_out_objects_share_no_image_and_are_counted(write_mvtec, tmp_path: Path, monkeypatch) -> None:
    root, out = write_mvtec(normals=10, defects=20), tmp_path / "out"
    listing = load_samples([Source(reader="mvtec_ad", root=str(root))])
    views = [replace(s, group=f"object {k // 5}") for k, s in enumerate(listing.samples)]
    monkeypatch.setattr("data.ddqa.listing.load_samples", lambda sources: Listing(views, []))
    build_ddqa(published(root, out, holdout=0.25))
    sides = {name: read(out / name) for name in ("train.jsonl", "held_out.jsonl")}
    groups = {s.id: s.group for s in views}
    objects = {name: {groups[row["id"]] for row in rows} for name, rows in sides.items()}
    assert len(objects["held_out.jsonl"]) == 2
    assert objects["train.jsonl"].isdisjoint(objects["held_out.jsonl"])
    stats = read_json(out / "stats.json")["mvtec_ad"]
    assert sum(stats.values()) == sum(len(rows) for rows in sides.values())
    assert sum(len(read(out / f"Task_{task}.jsonl")) for task in PAPER_TASKS) == len(sides["train.jsonl"])
    with pytest.raises(UserError, match="hold out all"):
        build_ddqa(published(root, out, holdout=0.99))


def break_mask(root: Path) -> None:
    (root / "washer/ground_truth/scratch/001_mask.png").write_bytes(b"broken")


def shrink_mask(root: Path) -> None:
    cv2.imwrite(str(root / "washer/ground_truth/scratch/001_mask.png"), np.full((10, 10), 255, np.uint8))


def cut_image(root: Path) -> None:
    path = root / "washer/test/scratch/001.png"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("fault", "reason"), [(break_mask, "Corrupt mask"), (shrink_mask, "Mask of another size"), (cut_image, "too early")]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_broken_files_stop_the_build_or_are_listed(fault, reason: str, workers: int, write_mvtec, tmp_path) -> None:
    root, out = write_mvtec(normals=2, defects=4), tmp_path / "out"
    fault(root)
    with pytest.raises(UserError, match=reason):
        build_ddqa(published(root, out, workers=workers))
    assert not out.exists() or not list(out.iterdir())
    build_ddqa(published(root, out, workers=workers, on_error=OnError.skip))
    (entry,) = read_json(out / "skipped.json")
    assert entry["item"] == "mvtec_ad/washer/test/scratch/001.png"
    assert reason in entry["reason"]
    stats = read_json(out / "stats.json")["mvtec_ad"]
    assert (stats["AD"], stats["DC"], stats["skipped"]) == (7, 3, 1)
    assert all(row["id"] != entry["item"] for row in read(out / "train.jsonl"))


def test_damage_in_the_middle_is_found_when_images_are_decoded(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec()
    path = root / "washer/test/scratch/001.png"
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(len(content) - 120) + content[-60:])
    with pytest.raises(UserError, match=r"Corrupt image: .*001\.png"):
        build_ddqa(published(root, tmp_path / "out", decode_images=True))


def test_a_source_that_cannot_be_listed_is_skipped_and_counted(write_mvtec, tmp_path: Path) -> None:
    config = published(write_mvtec(), tmp_path / "out", on_error=OnError.skip)
    config.sources.append("bsdata")
    config.paths["bsdata"] = str(tmp_path)
    build_ddqa(config)
    stats = read_json(tmp_path / "out/stats.json")
    assert stats["bsdata"] == {"AD": 0, "RDL": 0, "DFM": 0, "DC": 0, "skipped": 2}
    assert stats["mvtec_ad"]["RDL"] == 2
    skipped = {entry["item"]: entry["reason"] for entry in read_json(tmp_path / "out/skipped.json")}
    assert sorted(skipped) == ["bsdata/*", "bsdata/image_data.json"]
    assert "No samples in" in skipped["bsdata/*"]
    config.on_error = OnError.stop
    with pytest.raises(UserError, match=r"image_data\.json"):
        build_ddqa(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_dir": "r"}, "not both"),
        ({"out": ""}, "needs out="),
        ({"paths": {}}, "Where is 'mvtec_ad'"),
        ({"paths": {"visa": "x"}}, r"paths\.visa"),
        ({"settings": {"mvtec_ad": {"nope": 1}}}, r"settings\.mvtec_ad\.nope"),
        ({"settings": {"mvtec_ad": {"splits": "train"}}}, "not a list"),
        ({"settings": {"mvtec_ad": {"options": 3}}}, r"settings\.mvtec_ad\.options=3 has no names"),
        ({"settings": {"mvtec_ad": {"options": {"masks": "m"}}}}, "no option 'masks'"),
        ({"holdout": 1.0}, "holdout=1.0"),
        ({"tasks": []}, "asks nothing"),
        ({"sources": []}, "Give run_dir="),
    ],
)
def test_bad_calls_are_explained(changes: dict[str, Any], message: str, write_mvtec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        build_ddqa(replace(published(write_mvtec(), tmp_path / "out"), **changes))


def test_a_run_does_not_train_on_what_an_evaluation_calls_unseen(write_mvtec, tmp_path: Path) -> None:
    refused = config(write_mvtec(), tmp_path)
    refused.data.unseen = ["mvtec_ac"]
    with pytest.raises(UserError, match=r"data\.unseen"):
        build_ddqa(refused)


def test_settings_reach_their_source(write_mvtec, tmp_path: Path) -> None:
    settings = {"mvtec_ad": {"splits": ["test"]}}
    build_ddqa(published(write_mvtec(normals=2, defects=3), tmp_path / "out", settings=settings))
    assert read_json(tmp_path / "out/stats.json")["mvtec_ad"]["AD"] == 5


def test_options_reach_their_reader(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec(normals=2, defects=3)
    for path in root.glob("washer/ground_truth/scratch/*.png"):
        mask = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        mask[0, 0] = 40
        cv2.imwrite(str(path), mask)
    config = DDQAConfig(preset="paper", sources=["folder"], paths={"folder": str(root)}, out=str(tmp_path / "out"))
    build_ddqa(config)
    assert read_json(tmp_path / "out/stats.json")["folder"]["DFM"] == 0
    build_ddqa(replace(config, settings={"folder": {"options": {"threshold": 127}}}))
    assert read_json(tmp_path / "out/stats.json")["folder"]["DFM"] == 3


def test_bsdata_gives_the_column_of_table_1(real_data: Path, tmp_path: Path) -> None:
    config = DDQAConfig(preset="paper", sources=["bsdata"], data_root=str(real_data / "datasets"), out=str(tmp_path))
    build_ddqa(config)
    assert read_json(tmp_path / "stats.json") == {"bsdata": {"AD": 1104, "RDL": 394, "DFM": 331, "DC": 394}}
    rows = {task: read(tmp_path / f"Task_{task}.jsonl") for task in PAPER_TASKS}
    assert {task: len(found) for task, found in rows.items()} == {"AD": 1104, "RDL": 394, "DFM": 331, "DC": 394}
    assert all("/BSD/" not in row["images"][0] for row in rows[Task.AD])
    for task in (Task.RDL, Task.DC):
        assert set(Counter(row["answer"] for row in rows[task]).values()) <= {98, 99}
