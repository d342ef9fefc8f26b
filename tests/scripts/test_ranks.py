"""Two ranks under torchrun write what one process writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.files import read_jsonl
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.scripts.test_eval_mmad import base, run  # type: ignore[import-not-found]  # noqa: F401
from tests.test_worked_examples import file_of

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def launch(ranks: int, *command: str) -> None:
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--standalone"] if ranks > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_describe(run: Path, tmp_path: Path) -> None:  # noqa: F811
    folder, logs = tmp_path / "images", run / "descriptions"
    folder.mkdir()
    for index in range(21):
        pixels = np.random.default_rng(index).integers(0, 256, (96 if index % 4 else 64, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), pixels)
    for mode in ("free", "structured"):
        for ranks in (2, 1):
            words = [f"run={run}", f"folder={folder}", f"mode={mode}", "batch_size=4", f"name={mode}{ranks}"]
            launch(ranks, "scripts.describe", *words)
        assert (logs / f"{mode}2.jsonl").read_bytes() == (logs / f"{mode}1.jsonl").read_bytes()
        assert len(read_jsonl(logs / f"{mode}2.jsonl")) == 21
    assert not list(logs.glob("*rank*"))


@pytest.mark.parametrize("mode", ["likelihood", "generate"])
def test_eval_mmad(mode: str, run: Path, tmp_path: Path) -> None:  # noqa: F811
    write_mmad(tmp_path / "mmad")
    words = [f"data_root={tmp_path / 'mmad'}", f"run={run}", f"mode={mode}", "shots=1"]
    for ranks in (2, 1):
        launch(ranks, "scripts.eval_mmad", *words, f"out={tmp_path / str(ranks)}")
    two, one = (read_jsonl(tmp_path / str(ranks) / "answers.jsonl") for ranks in (2, 1))
    for row, expected in zip(two, one, strict=True):
        assert row.pop("likelihoods", []) == pytest.approx(expected.pop("likelihoods", []), abs=1e-5)
        assert row == expected
    results = [(tmp_path / str(ranks) / "results.json").read_bytes() for ranks in (2, 1)]
    assert results[0] == results[1]
    assert [path.name for path in (tmp_path / "2").glob("answers*")] == ["answers.jsonl"]


def test_plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rank imports the user's own reader and expert, of the pages' worked examples."""
    for room, name in (("data", "pass_fail.py"), ("models", "colour.py")):
        path = tmp_path / "own" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(file_of(ROOT / room / "README.md", name), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    rng = np.random.default_rng(0)
    for index in range(12):
        is_good = index < 8
        pixels, mask = rng.integers(60, 120, (32, 32, 3), dtype=np.uint8), np.zeros((32, 32), np.uint8)
        if not is_good:
            pixels[8:16, 8:16], mask[8:16, 8:16] = 255, 255
        for kind, picture in {"pass" if is_good else "fail": pixels, **({} if is_good else {"masks": mask})}.items():
            path = tmp_path / "products" / "bolt" / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    words = ["dataset=pass_fail:read_pass_fail", f"data_root={tmp_path / 'products'}", "expert=colour:ColourExpert"]
    words += ["shots=3", "seeds=1", "train_splits=[test]", "train_share=0.5", "workers=1"]
    for ranks in (2, 1):
        launch(ranks, "scripts.eval_expert", *words, f"out={tmp_path / str(ranks)}")
    two, one = (json.loads((tmp_path / str(ranks) / "seed_0" / "expert.json").read_text()) for ranks in (2, 1))
    assert two["categories"] == one["categories"] and two["images"] == one["images"]
    assert two["mean"]["pixel_auroc"] > 99  # the defects are white squares
