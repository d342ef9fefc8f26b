import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import UserError
from data.factory import synthetic
from data.factory.catalog import Group, categories_of
from data.factory.synthetic import RootConfig, SyntheticConfig, make_factory
from data.files import read_json
from data.sample import load_image, load_mask
from data.source import Source, load_samples


def make_config(path: Path, **changes: object) -> SyntheticConfig:
    config = SyntheticConfig(
        run_dir=str(path),
        size=96,
        workers=1,
        several_share=0.3,
        decoy_share=0.3,
        seen=RootConfig(categories=["gear", "wood"], train_normals=2, test_normals=1, anomalous=10),
        unseen=RootConfig(categories=["screw"], train_normals=1, test_normals=2, anomalous=8),
    )
    return replace(config, **changes)  # type: ignore[arg-type]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    make_factory(make_config(path))
    return path


def test_bytes_do_not_depend_on_workers_or_on_other_images(factory: Path, tmp_path: Path) -> None:
    make_factory(make_config(tmp_path / "two", workers=2))
    assert snapshot(tmp_path / "two" / "data") == snapshot(factory / "data")
    fewer = RootConfig(categories=["wood"], train_normals=1, test_normals=0, anomalous=3)
    make_factory(make_config(tmp_path / "fewer", seen=fewer))
    some = {name: data for name, data in snapshot(tmp_path / "fewer" / "data").items() if name.endswith("png")}
    whole = snapshot(factory / "data")
    assert len(some) > 20 and all(whole[name] == data for name, data in some.items())


def test_the_real_reader_reads_it(factory: Path) -> None:
    seen = load_samples([Source(reader="mvtec_ad", root=str(factory / "data/seen"))]).samples
    assert len(seen) == 2 * (2 + 1 + 10)
    assert {sample.category for sample in seen} == {"gear", "wood"}
    assert "missing part" in {sample.defect for sample in seen}
    for sample in seen:
        image = load_image(sample.image)
        assert image.shape == (96, 96, 3)
        assert load_mask(sample, (96, 96)).any() != sample.is_normal


def test_the_records_match_the_masks(factory: Path) -> None:
    several = decoys = 0
    for root in (factory / "data/seen", factory / "data/unseen"):
        rows = {row["image"]: row for row in read_json(root / "factory.json")}
        samples = load_samples([Source(reader="mvtec_ad", root=str(root))]).samples
        assert set(rows) == {s.image.relative_to(root).as_posix() for s in samples if not s.is_normal}
        for sample in samples:
            if sample.is_normal:
                continue
            row = rows[sample.image.relative_to(root).as_posix()]
            assert (row["category"], row["defect"]) == (sample.category, sample.defect)
            assert row["regions"][0]["defect"] == sample.defect
            mask, boxes = load_mask(sample, (96, 96)), np.zeros((96, 96), bool)
            for region in row["regions"]:
                x0, y0, x1, y1 = region["box"]
                boxes[y0:y1, x0:x1] = True
            assert not (mask & ~boxes).any()
            for x0, y0, x1, y1 in row["decoys"]:
                assert not mask[y0:y1, x0:x1].any()
            several += len(row["regions"]) > 1
            decoys += bool(row["decoys"])
    assert several and decoys


def test_a_second_run_does_nothing_and_another_config_starts_over(tmp_path: Path) -> None:
    small = RootConfig(categories=["wood"], train_normals=1, test_normals=0, anomalous=1)
    config = make_config(tmp_path, seen=small, unseen=replace(small, categories=["tile"]))
    make_factory(config)
    image = tmp_path / "data/seen/wood/train/good/000.png"
    written = image.stat().st_mtime_ns
    make_factory(replace(config, workers=2))
    assert image.stat().st_mtime_ns == written
    image.unlink()
    make_factory(config)
    assert image.is_file()
    before = image.read_bytes()
    make_factory(replace(config, seed=1))
    assert image.read_bytes() != before


def test_categories_stay_apart(tmp_path: Path) -> None:
    root = RootConfig(categories=["wood"], train_normals=1, test_normals=0, anomalous=0)
    with pytest.raises(UserError, match="disjoint"):
        make_factory(make_config(tmp_path, seen=root, unseen=root))
    with pytest.raises(UserError, match="sprocket"):
        make_factory(make_config(tmp_path, seen=replace(root, categories=["sprocket"])))
    with pytest.raises(UserError, match="disjoint"):
        make_factory(make_config(tmp_path, seen=replace(root, categories=categories_of(Group.UNSEEN))))
    with pytest.raises(UserError, match="decoy_share"):
        make_factory(make_config(tmp_path, decoy_share=0.9))
    assert not list(tmp_path.iterdir())


def test_an_output_path_beneath_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="a file is in the way"):
        make_factory(make_config(tmp_path / "file" / "run"))


def test_foreign_files_are_never_deleted(tmp_path: Path) -> None:
    mine = tmp_path / "data/seen/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    with pytest.raises(UserError, match="not made by this command"):
        make_factory(make_config(tmp_path))
    assert mine.read_text() == "precious"


def test_a_full_disk_is_reported_and_the_next_run_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = RootConfig(categories=["wood"], train_normals=3, test_normals=0, anomalous=0)
    config = make_config(tmp_path, seen=small, unseen=replace(small, categories=["tile"]))
    real, calls = synthetic._write_png, []

    def fail(path: Path, pixels: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, pixels)

    monkeypatch.setattr(synthetic, "_write_png", fail)
    with pytest.raises(OSError, match="No space") as raised:
        make_factory(config)
    assert raised.value.errno == errno.ENOSPC
    make_factory(config)
    assert read_json(tmp_path / "data/factory.json")["complete"] is True
    assert len(list((tmp_path / "data/seen/wood/train/good").iterdir())) == 3
