"""The paper's preset by its commands, on a tiny checkpoint with code of its own that has MiniCPM-V 2.6's faults."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.tasks import AD_OPTIONS, Task, format_prompt
from data.files import read_jsonl, write_jsonl
from data.run import Run, open_run
from data.tiny.scenes import make_scene
from data.training.descriptions import DescribeMode, Manner
from models.eddm.eddm import load_eddm
from models.exported import load_exported_eddm
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]
from tests.models.chat.minicpm_folder import (  # type: ignore[import-not-found]
    COMMIT,
    HUB_ID,
    POSITION,
    write_folder,
    write_snapshot,
)
from tests.train.export.conftest import write_mdlm_part  # type: ignore[import-not-found]

pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]
TRUST = "trust_remote_code=true"


@dataclass(frozen=True)
class Place:
    """Where the checkpoint is: what `model.id` says, and the environment in which that is found."""

    id: str
    environment: dict[str, str]

    def command(self, name: str, *words: str, ranks: int = 1) -> list[str]:
        """Words that start a command on the paper's preset."""
        launch = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--standalone"] if ranks > 1 else []
        return [sys.executable, *launch, "-m", f"scripts.{name}", *words]

    def run(self, name: str, *words: str, ranks: int = 1, code: int = 0) -> str:
        """Runs a command and returns what it said."""
        done = subprocess.run(
            self.command(name, *words, ranks=ranks),
            **{"cwd": ROOT, "env": self.environment, "capture_output": True, "text": True},
            check=False,
        )
        assert done.returncode == code, done.stderr[-4000:]
        return done.stdout + done.stderr


@pytest.fixture(scope="module", params=["folder", "snapshot"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    home = tmp_path_factory.mktemp(request.param)
    offline = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hf")}
    if request.param == "snapshot":
        write_snapshot(home / "hf" / "hub")
        return Place(HUB_ID, os.environ | offline)
    return Place(str(write_folder(home / "MiniCPM-V-2_6")), os.environ | offline)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for index in range(12):
        cv2.imwrite(str(folder / f"{index}.png"), make_scene(np.random.default_rng(index), 64, marks=index % 2).image)
    return [folder / f"{index}.png" for index in range(12)]


@pytest.fixture(scope="module")
def questions(images: list[Path]) -> Path:
    rows = []
    for index, image in enumerate(images):
        answer = "B" if index % 2 else "A"
        question = {"role": "user", "content": "<image>" + format_prompt(Task.AD, AD_OPTIONS)}
        rows.append(
            {
                "messages": [question, {"role": "assistant", "content": answer}],
                "images": [str(image)],
                "id": f"scene-{index}",
                "task": "AD",
                "category": "scene",
                "options": list(AD_OPTIONS),
                "answer": answer,
                "defect": "scratch" if index % 2 else None,
            }
        )
    write_jsonl(images[0].with_name("train.jsonl"), rows)
    return images[0].with_name("train.jsonl")


@pytest.fixture(scope="module")
def settings(place: Place, questions: Path) -> Callable[..., list[str]]:
    def make(run: Path, *others: str, steps: int = 4) -> list[str]:
        return [
            *("preset=paper", f"model.id={place.id}", "model.trust_remote_code=true", f"model.revision={COMMIT}"),
            *("optim.use_cpu=true", f"optim.max_steps={steps}", "optim.total_batch=4", "optim.batch_size=2"),
            *(
                "optim.workers=0",
                "optim.log_steps=1",
                "tracking.tensorboard=false",
                f"questions={questions}",
                f"run_dir={run}",
                *others,
            ),
        ]

    return make


@pytest.fixture(scope="module")
def trained(place: Place, settings: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    said = place.run("train_eddm", *settings(run, "optim.lr=0.01"))
    assert "resampler.pos_embed filled again" in said and "post_init called" in said
    assert read_jsonl(run / "eddm" / "log.jsonl")[-1]["step"] == 4
    return run


def test_the_run_describes_answers_and_is_inspected(
    place: Place, trained: Path, questions: Path, images: list[Path], tmp_path: Path
) -> None:
    run = [f"run={trained}", TRUST]
    place.run("describe", *run, "preset=paper", f"folder={images[0].parent}")
    described = read_jsonl(trained / "descriptions" / f"{images[0].parent.name}.jsonl")
    assert len(described) == len(images)

    (trained / "ddqa").mkdir(exist_ok=True)
    (trained / "ddqa" / "zero_shot.jsonl").write_text(questions.read_text())
    said = place.run("eval_eddm", *run)
    assert "repetition_penalty is set to 1 instead of the checkpoint's own 1.05" in said
    assert json.loads((trained / "eval" / "eddm.json").read_text())["questions"] == len(images)

    write_mmad(tmp_path / "MMAD")
    place.run("eval_mmad", *run, f"data_root={tmp_path / 'MMAD'}")
    scored = json.loads((trained / "eval" / "mmad" / "results.json").read_text())
    assert scored["mode"] == "likelihood" and scored["unanswered"] == 0
    place.run("eval_mmad", *run, f"data_root={tmp_path / 'MMAD'}", "mode=generate", f"out={tmp_path / 'generated'}")
    assert json.loads((tmp_path / "generated" / "results.json").read_text())["unanswered"] == 0

    write_mdlm_part(Run(trained), "eddm")
    said = place.run("inspect", *run, f"images={images[0]}", f"out={tmp_path / 'inspected'}")
    assert (tmp_path / "inspected" / "masks" / f"{images[0].stem}.png").is_file()


def test_without_trust_on_its_command_line_nothing_runs(place: Place, trained: Path, images: list[Path]) -> None:
    said = place.run("describe", f"run={trained}", "preset=paper", f"folder={images[0].parent}", "name=x", code=2)
    assert "trust_remote_code=true" in said


@pytest.mark.parametrize("merge", [False, True])
def test_both_exports_load_again_and_say_the_same(
    place: Place,
    trained: Path,
    images: list[Path],
    tmp_path: Path,
    merge: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    place.run("export_adapter", f"run={trained}", "part=eddm", f"merge={str(merge).lower()}", f"out={out}", TRUST)
    assert json.loads((out / "proof.json").read_text())["passed"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", f"{place.environment['HF_HOME']}/hub")
    base = None if merge or place.id == HUB_ID else place.id
    exported = load_exported_eddm(out / "eddm", base=base, trust_remote_code=True)
    own = load_eddm(open_run(str(trained)), trust_remote_code=True)
    for eddm in (exported, own):
        assert bool((eddm.chat.engine.model.resampler.pos_embed == POSITION).all())  # type: ignore[attr-defined]
    assert exported.describe(images[:3], Manner(DescribeMode.free)) == own.describe(
        images[:3], Manner(DescribeMode.free)
    )
    run_card(out, images[0], place.id)
    manifest = (out / "eddm" / "manifest.json").read_text()
    assert COMMIT in manifest and place.environment["HF_HOME"] not in manifest


def run_card(export: Path, image: Path, base: str) -> None:
    """Runs the code of an export's card as it is printed: this project's loader, then transformers with the cures."""
    blocks = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(), re.DOTALL)
    for code, loaded in zip(blocks, ("eddm", "model"), strict=True):
        for printed, there in {"this/export": export, "photo.png": image, Path(base).name: base}.items():
            code = code.replace(f'"/path/to/{printed}"', f'"{there}"')
        assert "/path/to" not in code
        names: dict[str, Any] = {}
        exec(compile(code, "card", "exec"), names)
        model = names[loaded] if loaded == "model" else names[loaded].chat.engine.model
        assert bool((model.resampler.pos_embed == POSITION).all())


@pytest.mark.parametrize("place", ["snapshot"], indirect=True, scope="module")
def test_two_ranks_zero_2_and_4_bits(place: Place, settings: Callable[..., list[str]], tmp_path: Path) -> None:
    small = ("optim.total_batch=4", "optim.batch_size=1", "lora.dropout=0", "model.torch_dtype=float32")
    losses = {}
    for name, ranks, others in [
        ("one", 1, ()),
        ("two", 2, ()),
        ("zero", 2, ("optim.deepspeed=zero2",)),
        ("nf4", 1, ("lora.quantize=nf4",)),
    ]:
        place.run("train_eddm", *settings(tmp_path / name, *small, *others), ranks=ranks)
        losses[name] = [row["loss"] for row in read_jsonl(tmp_path / name / "eddm" / "log.jsonl")]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    assert losses["zero"] == pytest.approx(losses["one"], rel=1e-3)
    assert losses["nf4"] == pytest.approx(losses["one"], rel=0.1) and losses["nf4"] != losses["one"]


@pytest.mark.parametrize("place", ["folder"], indirect=True, scope="module")
def test_sigterm_saves_and_the_same_command_goes_on(
    place: Place, settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    words = ("optim.save_steps=2", "lora.dropout=0.1")
    place.run("train_eddm", *settings(tmp_path / "whole", *words, steps=8))
    command = place.command("train_eddm", *settings(tmp_path / "run", *words, steps=8))
    seal = tmp_path / "run" / "eddm" / "lora" / "checkpoint-2" / "manifest.json"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=place.environment, stdout=log, stderr=log)
        while not seal.exists():
            assert process.poll() is None, "the training ended before it could be interrupted"
            time.sleep(0.002)
        process.terminate()
        assert process.wait() == 143, (tmp_path / "log").read_text()[-3000:]
    assert "going on from step" in place.run("train_eddm", *settings(tmp_path / "run", *words, steps=8))
    whole, resumed = (
        (read_jsonl(run / "eddm" / "log.jsonl"), (run / "eddm/adapter/adapter_model.safetensors").read_bytes())
        for run in (tmp_path / "whole", tmp_path / "run")
    )
    assert resumed == whole
