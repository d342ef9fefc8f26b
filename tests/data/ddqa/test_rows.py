import shutil
from pathlib import Path

import pytest

from data.ddqa.build import build_ddqa
from data.ddqa.config import DDQAConfig
from data.ddqa.rows import read_rows
from data.errors import UserError
from data.files import read_jsonl, write_jsonl
from data.source import DataConfig, Source


def build(root: Path, run: Path) -> Path:
    data = DataConfig(train=[Source(reader="mvtec_ad", root=str(root))], zero_shot=[])
    build_ddqa(DDQAConfig(run_dir=str(run), data=data, workers=1))
    return run / "ddqa" / "train.jsonl"


def test_a_run_may_be_moved_with_its_images(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = build(write_mvtec("run/data/seen"), Path("run"))
    images = [row["images"][0] for row in read_jsonl(path)]
    assert set(images) == {f"data/seen/{Path(name).relative_to('data/seen')}" for name in images}
    shutil.move("run", "moved")
    moved = Path("moved/ddqa/train.jsonl")
    again = [Path(row["images"][0]) for row in read_rows(moved)]
    assert [path.relative_to(tmp_path / "moved").as_posix() for path in again] == images
    assert all(path.is_file() for path in again)
    before = moved.read_bytes()
    build(tmp_path / "moved/data/seen", tmp_path / "moved")
    assert moved.read_bytes() == before


def test_images_elsewhere_are_named_whole(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec()
    path = build(root, tmp_path / "run")
    assert read_rows(path) == read_jsonl(path)
    assert all(Path(row["images"][0]).is_relative_to(root) for row in read_jsonl(path))


def test_the_published_form_names_every_image_whole(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec("out/images")
    build_ddqa(DDQAConfig(sources=["mvtec_ad"], paths={"mvtec_ad": str(root)}, out=str(tmp_path / "out"), workers=1))
    rows = read_jsonl(tmp_path / "out" / "train.jsonl")
    assert all(Path(row["images"][0]).is_absolute() for row in rows)
    assert read_rows(tmp_path / "out" / "train.jsonl") == rows


def test_other_files_and_rows_are_left_as_they_are(tmp_path: Path) -> None:
    rows = [{"images": ["here.png"]}, {"images": [3]}, {"messages": []}, {"images": "x"}]
    write_jsonl(tmp_path / "mine.jsonl", rows)
    assert read_rows(tmp_path / "mine.jsonl") == rows
    with pytest.raises(UserError, match="Missing file"):
        read_rows(tmp_path / "none.jsonl")
