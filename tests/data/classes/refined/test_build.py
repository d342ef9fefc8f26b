import csv
import errno
import json
import logging
import os
from pathlib import Path

import pytest

from data.classes.refined.build import ACConfig, Refined, Transfer, build_ac, format_counts
from data.errors import UserError
from data.readers.registry import READERS


def make_config(source: Path, out: Path, dataset: Refined = Refined.mvtec_ac, **changes) -> ACConfig:
    return ACConfig(dataset=dataset, source=str(source), out=str(out), **changes)


def test_the_built_folder_reads_back(raw_mvtec: Path, tmp_path: Path, caplog) -> None:
    out = tmp_path / "ac"
    (tmp_path / ".ac.partial").mkdir()  # of a build that was killed
    (tmp_path / ".ac.partial" / "left.png").touch()
    with caplog.at_level(logging.INFO):
        built = build_ac(make_config(raw_mvtec, out))
    assert not (out / "left.png").exists()
    assert built == {("capsule", "good"): 1, ("capsule", "crack"): 3, ("pill", "color"): 1}
    samples = READERS["mvtec_ac"](out)
    assert [(s.id.removeprefix("mvtec_ac/"), s.defect) for s in samples if s.split == "test"] == [
        ("capsule/test/crack/000.png", "crack"),
        ("capsule/test/crack/poke_000.png", "crack"),
        ("capsule/test/crack/poke_001.png", "crack"),
        ("capsule/test/good/000.png", None),
        ("pill/test/color/000.png", "color"),
    ]
    with (out / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all((out / row["file"]).read_text() == row["source"] for row in rows)
    assert len(rows) == len(samples) + sum(s.mask is not None for s in samples)
    counts = json.loads((out / "counts.json").read_text())["counts"]
    assert {"category": "capsule", "class": "crack", "built": 3, "release": 35} in counts
    assert ["capsule", "crack", "3", "35", "-32"] in [line.split() for line in caplog.text.splitlines()]
    assert {path.name for path in tmp_path.iterdir()} == {"raw mvtec", "ac"}


def test_visa_ac_has_the_release_counts(raw_visa: Path, tmp_path: Path) -> None:
    out = tmp_path / "ac"
    built = build_ac(make_config(raw_visa, out, Refined.visa_ac, train=False))
    assert built == {("pcb4", "good"): 101, ("pcb4", "extra"): 22, ("pcb4", "missing"): 19}
    samples = READERS["visa_ac"](out)
    assert {s.split for s in samples} == {"test"}
    assert sum(s.mask is not None for s in samples) == 41


def test_hard_links_share_the_file(raw_mvtec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_ac(make_config(raw_mvtec, tmp_path / "ac", transfer=Transfer.hardlink))
    path = "capsule/test/crack/000.png"
    assert (tmp_path / "ac" / path).samefile(raw_mvtec / path)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(UserError, match=r"Cannot hard-link .*Use transfer=copy"):
        build_ac(make_config(raw_mvtec, tmp_path / "ac2", transfer=Transfer.hardlink))
    assert {path.name for path in tmp_path.iterdir()} == {"raw mvtec", "ac"}


def test_corrections_are_applied_and_recorded(raw_mvtec: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("capsule/test/poke/000.png: scratch\ncapsule/test/poke/001.png: drop\n")
    built = build_ac(make_config(raw_mvtec, tmp_path / "ac", corrections=str(tmp_path / "c.yaml")))
    assert (built["capsule", "crack"], built["capsule", "scratch"]) == (1, 1)
    assert json.loads((tmp_path / "ac/counts.json").read_text())["corrections"]["capsule/test/poke/001.png"] == "drop"


def test_nothing_is_overwritten(raw_mvtec: Path, tmp_path: Path) -> None:
    (tmp_path / "ac").mkdir()
    with pytest.raises(UserError, match="ac exists already"):
        build_ac(make_config(raw_mvtec, tmp_path / "ac"))


def test_an_interrupted_build_leaves_nothing(raw_mvtec: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data.classes.refined.build.write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_ac(make_config(raw_mvtec, tmp_path / "ac"))
    assert [path.name for path in tmp_path.iterdir()] == ["raw mvtec"]


def test_the_table_marks_differences_alone() -> None:
    text = format_counts([("a", "good", 2, 2), ("a", "scratch", 1, 3)])
    assert text.splitlines()[1:] == [
        "a           good         2        2",
        "a           scratch      1        3     -2",
        "anomalous                1        3     -2",
        "normal                   2        2",
        "1 of 2 classes differ from the release.",
    ]
