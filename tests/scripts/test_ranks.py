"""Two ranks under torchrun write what one process writes."""

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
