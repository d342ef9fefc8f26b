from collections import Counter
from pathlib import Path

import pytest

from data.doctor.examine import DoctorConfig, diagnose, examine
from data.errors import UserError
from data.readers.registry import READERS


def config(tmp_path: Path, **settings) -> DoctorConfig:
    return DoctorConfig(cache=str(tmp_path / "cache"), **settings)


def test_against_says_what_it_compared(write_mvtec, tmp_path: Path) -> None:
    first, second = write_mvtec("a", seed=1), write_mvtec("b", seed=2)
    done = examine(config(tmp_path, against=str(second)), str(first))
    assert (done.problems, done.images_compared) == ([], 6)
    copy = second / "washer/test/good/copy.png"
    copy.write_bytes((first / "washer/train/good/000.png").read_bytes())
    (second / "washer/test/good/000.png").write_bytes(b"broken")
    done = examine(config(tmp_path, against=str(second)), str(first))
    assert [(item.code, item.file) for item in done.problems] == [
        ("leaked-image", "washer/train/good/000.png"),
        ("not-compared", str(second / "washer/test/good/000.png")),
    ]
    assert str(copy) in done.problems[0].message


def test_against_itself_or_nothing(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec()
    with pytest.raises(UserError, match="the dataset itself"):
        examine(config(tmp_path, against=str(root)), str(root))
    done = examine(config(tmp_path, against=str(tmp_path / "nowhere")), str(root))
    assert [(item.code, item.message) for item in done.problems] == [
        ("missing-folder", "against: There is nothing."),
    ]


def test_a_relative_root_with_dots(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mvtec("a")
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    assert examine(config(tmp_path), "../a").problems == []


def test_options_reach_the_reader(write_mvtec, tmp_path: Path) -> None:
    done = examine(config(tmp_path, options={"nonsense": 1}), str(write_mvtec()))
    assert [item.code for item in done.problems] == ["reader-stopped"]
    assert "nonsense" in done.problems[0].message


def test_every_registered_reader_can_be_named(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "ours", READERS["mvtec_ad"])  # without a line in signatures.yaml
    done = examine(config(tmp_path, reader="ours"), str(write_mvtec()))
    assert done.problems == []
    assert {row.category for row in done.rows} == {"washer"}
    assert diagnose(config(tmp_path, reader="ours", folder=str(tmp_path / "mvtec")))
    missing = examine(config(tmp_path, reader="visa"), str(tmp_path / "visa"))
    assert missing.problems[0].fix.startswith("Get it: curl -L https://amazon")
    with pytest.raises(UserError, match=r"Unknown reader 'our'\. Did you mean ours\?"):
        diagnose(config(tmp_path, reader="our", folder=str(tmp_path)))


def test_the_wrong_level_is_examined_all_the_same(write_mvtec, tmp_path: Path, capsys) -> None:
    root = write_mvtec("deep/er")
    assert not diagnose(config(tmp_path, folder=str(root.parent)))
    printed = capsys.readouterr().out
    assert f"fix: Pass data={root} instead." in printed
    assert "washer    test        2          2  scratch 2" in printed


@pytest.mark.slow
def test_the_real_sets(real_data: Path, tmp_path: Path) -> None:
    assert examine(config(tmp_path), str(real_data / "datasets/bsdata")).problems == []
    tiles = examine(config(tmp_path), str(real_data / "datasets/magnetic_tile"))
    assert Counter(item.code for item in tiles.problems) == {"empty-mask": 2, "count-differs": 8}  # half of the set
