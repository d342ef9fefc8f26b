from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.source import DataConfig, Source, load_samples
from scripts.pipeline.dry_run import list_datasets, map_bytes, read_parts
from scripts.pipeline.plan import RunAllConfig, plan_stages

PAPER = RunAllConfig(preset="paper", run_dir="r", data=DataConfig(name="paper", train=[], zero_shot=[]))


def test_a_stage_needs_the_side_of_the_data_that_it_reads() -> None:
    parts = {stage.name: read_parts(stage) for stage in plan_stages(PAPER)}
    assert parts["ddqa"] == parts["describe-train"] == ["train"]
    assert parts["exam"] == parts["eval-eddm"] == parts["eval-with-eddm"] == ["zero_shot"]
    assert parts["mdlm"] == ["train", "zero_shot"]
    assert parts["eddm"] == parts["report"] == []


def test_datasets_are_counted_or_missed_with_the_way_to_get_them(write_mvtec: Callable[..., Path]) -> None:
    root = write_mvtec(normals=2, defects=3)
    bad = root.parent / "bad"
    bad.mkdir()
    sources = [("mvtec_ad", root), ("visa", root.parent / "visa"), ("rsdd", bad)]
    needs, samples = list_datasets([Source(reader=reader, root=str(path)) for reader, path in sources])
    assert needs[0].name == "mvtec_ad (7 images)" and not needs[0].missing
    assert "VisA_20220922.tar" in needs[1].missing[0]
    assert str(bad) in needs[2].missing[0]
    assert len(samples) == 7


def test_maps_are_as_large_as_their_images(write_mvtec: Callable[..., Path]) -> None:
    root = write_mvtec(categories=("washer", "wood"), normals=1, defects=1)
    for path in (root / "wood").rglob("*.png"):
        cv2.imwrite(str(path), np.zeros((10, 30, 3), np.uint8))
    samples = load_samples([Source(reader="mvtec_ad", root=str(root))]).samples
    assert map_bytes(samples) == 3 * 4 * (48 * 64 + 10 * 30)


def test_the_demo_misses_nothing_and_nothing_is_run(tmp_path: Path, run_command: Callable[..., str], capsys) -> None:
    with pytest.raises(SystemExit) as done:
        run_command("run_all", f"run_dir={tmp_path / 'run'}", "dry_run=true")
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert "Nothing is missing." in shown
    assert shown.index(". ddqa") < shown.index(". eddm  ") < shown.index(". report")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_papers_run_names_what_it_misses_once(
    tmp_path: Path, run_command: Callable[..., str], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EIAD_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as done:
        run_command("run_all", "preset=paper", "data=paper", f"run_dir={tmp_path / 'run'}", "dry_run=true")
    assert done.value.code == 1
    shown, _, missing = capsys.readouterr().out.partition("\nMissing:\n")
    assert "real_iad: MISSING" in shown and "weights: MiniCPM-V 2.6: MISSING" in shown
    assert "GPU-hours" in shown
    assert missing.count("- real_iad:") == missing.count("sam_vit_h_4b8939.pth to ") == 1
    assert not (tmp_path / "run").exists()
