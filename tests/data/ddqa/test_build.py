import json
from collections import Counter
from pathlib import Path

import pytest

from data.ddqa.build import DDQAConfig, build_ddqa
from data.ddqa.tasks import LETTERS, Task
from data.errors import UserError
from data.source import DataConfig, Source


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
        assert Path(row["images"][0]).is_file()
        assert assistant["content"] == row["answer"]
        if row["task"] in ("RDL", "DC"):
            assert row["answer"] in LETTERS[: len(row["options"])]
            assert len(set(row["options"])) == 4
    letters = Counter(row["answer"] for row in rows if row["task"] == "RDL")
    assert max(letters.values()) - min(letters.values()) <= 8


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


def test_bsdata_gives_the_column_of_table_1(real_data: Path, tmp_path: Path) -> None:
    source = Source(reader="bsdata", root=str(real_data / "datasets/bsdata"))
    data = DataConfig(train=[source], zero_shot=[])
    counts = build_ddqa(DDQAConfig(preset="paper", run_dir=str(tmp_path), data=data))
    assert {task: table["bsdata"] for task, table in counts.items()} == {"AD": 1104, "RDL": 394, "DFM": 331, "DC": 394}
