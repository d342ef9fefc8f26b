"""`python -m scripts.eval_segmentation` and `scripts.reproduce` on a small tree in each dataset's real layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.files import read_json
from data.sample import load_image, load_mask
from data.source import Source, load_samples
from tests.data.readers.conftest import TREES  # type: ignore[import-not-found]
from tests.scripts.conftest import RunCommand  # type: ignore[import-not-found]

READERS = sorted(set(TREES) - {"visa_1cls"})


def write_maps(reader: str, root: Path, maps: Path) -> int:
    """Of each image with an annotation to score by its own mask, a little blurred by noise."""
    rng = np.random.default_rng(0)
    samples = load_samples([Source(reader=reader, root=str(root), skip_empty_masks=True)]).samples
    for sample in samples:
        height, width = load_image(sample.image).shape[:2]
        target = (maps / sample.image.relative_to(root)).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, load_mask(sample, (height, width)) + rng.random((height, width), np.float32))
    return len(samples)


@pytest.mark.parametrize("reader", READERS)
def test_maps_are_scored_in_every_layout(reader: str, tmp_path: Path, run_command: RunCommand) -> None:
    root, maps, out = tmp_path / "Prüf daten" / reader, tmp_path / "maps", tmp_path / "out"
    root.mkdir(parents=True)
    TREES[reader](root)
    count = write_maps(reader, root, maps)
    arguments = [f"dataset={reader}", f"data_root='{root}'", f"maps={maps}", f"out={out}", "skip_empty_masks=true"]
    said = json.loads(run_command("eval_segmentation", *arguments, "splits=[]"))
    results = read_json(out / "results.json")
    assert said["resolution"] == "native"
    assert results["mean"]["pixel_auroc"] == pytest.approx(said["pixel_auroc"])
    assert 99 < results["mean"]["pixel_auroc"] <= 100  # every defective pixel is above every other
    assert read_json(out / "segmentation.json")["images"]["total"] == count
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(("table", "reader"), [("eiad.4", "mvtec_ad"), ("eiad.5", "visa"), ("eiad.6", "mvtec_3d")])
def test_a_table_is_made(table: str, reader: str, tmp_path: Path, run_command: RunCommand) -> None:
    root = tmp_path / "data" / reader
    root.mkdir(parents=True)
    TREES[reader](root)
    write_maps(reader, root, tmp_path / "maps" / reader)
    shown = run_command(
        "reproduce",
        f"table={table}",
        f"data_root={tmp_path / 'data'}",
        f"+maps.mine={tmp_path / 'maps'}",
        f"out={tmp_path / 'out'}",
    )
    lines = read_json(tmp_path / "out" / f"{table}.json")["lines"]
    assert "WinCLIP" in shown and lines["mine"]["cells"]["pixel_auroc"]["ours"] is not None
    assert lines["winclip"]["cells"]["pixel_auroc"]["ours"] is None  # those maps are not known to be its


def test_all_tables_make_one_page(tmp_path: Path, run_command: RunCommand) -> None:
    shown = run_command("reproduce", "table=all", f"out={tmp_path}")
    assert all(f"{paper}.{number}  " in shown for paper, count in (("eiad", 7), ("velm", 5)) for number in [1, count])
    assert (tmp_path / "all.html").is_file()
