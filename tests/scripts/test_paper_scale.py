"""The paper's MDLM from the hub's files to an export: true widths, true vocabulary, Meta's SAM; few layers."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.files import read_json
from models.device import cpu_computes_in
from tests.paper_scale import write_llava, write_sam

ROOT = Path(__file__).resolve().parents[2]
GIB_OF_MEMORY = 6
IN_FLOAT32 = ("loop.precision=no", "mdlm.llava.precision=float32")  # as the warning advises


def run(command: str, *arguments: str) -> str:
    """Runs a command in a process of its own and returns what it prints on stdout."""
    finished = subprocess.run(
        [sys.executable, "-m", f"scripts.{command}", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam(tmp_path_factory.mktemp("sam") / "sam_vit_b_01ec64.pth")


def train(out: Path, root: Path, sam: Path, language: str, *, steps: int = 2) -> Path:
    folder = write_llava(out / language, language)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    names = read_json(folder / "model.safetensors.index.json")["weight_map"]
    assert {"language_model.model.norm.weight", "vision_tower.vision_model.post_layernorm.weight"} <= names.keys()
    run(
        "train_mdlm",
        *("preset=paper", "data=synthetic", f"llava={language}", "sam=vit_b", f"mdlm.llava.path={folder}"),
        *(
            f"mdlm.sam.checkpoint={sam}",
            "description=fixed",
            f"loop.steps={steps}",
            "loop.batch_size=1",
            "loop.workers=0",
        ),
        *(f"data.train=[{{reader: mvtec_ad, root: {root}}}]", "data.zero_shot=[]", "tracking.tensorboard=false"),
        f"run_dir={out / 'run'}",
        *(() if cpu_computes_in("bfloat16") else IN_FLOAT32),
    )
    return out / "run"


def evaluate(run_dir: Path, root: Path, out: Path) -> dict[str, float]:
    arguments = (f"run={run_dir}", "description=fixed", "dataset=mvtec_ad", f"data_root={root}", f"out={out}")
    return json.loads(run("eval_segmentation", *arguments).splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_vicuna_is_trained_evaluated_inspected_and_exported(
    tmp_path: Path, write_mvtec: Callable[..., Path], sam: Path
) -> None:
    test = write_mvtec("test", categories=("plate",), normals=1, defects=1, seed=1)
    run_dir = train(tmp_path, write_mvtec("train", normals=1, defects=1), sam, "vicuna")
    manifest = json.loads((run_dir / "mdlm/fixed/config.json").read_text())
    assert manifest["mdlm"]["sam_lora"] == "decoder"

    assert 0 <= evaluate(run_dir, test, tmp_path / "evaluated")["pixel_auroc"] <= 100
    inspected = run(
        *("inspect", f"images={test}/plate/test/scratch/000.png", f"run={run_dir}"),
        *(f"out={tmp_path / 'inspected'}", "description=fixed"),
    )
    assert 0 <= json.loads(inspected.splitlines()[-1])["score"] <= 1

    export = tmp_path / "export"
    run("export_adapter", f"run={run_dir}", "part=mdlm", "merge=false", f"out={export}")
    assert (export / "proof.json").is_file()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < GIB_OF_MEMORY * 2**20  # KiB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mistral_is_trained_and_evaluated(tmp_path: Path, write_mvtec: Callable[..., Path], sam: Path) -> None:
    run_dir = train(tmp_path, write_mvtec("train", normals=1, defects=1), sam, "mistral", steps=1)
    test = write_mvtec("test", categories=("plate",), normals=1, defects=1, seed=1)
    assert 0 <= evaluate(run_dir, test, tmp_path / "evaluated")["pixel_auroc"] <= 100
