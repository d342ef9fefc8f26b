import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.errors import UserError
from data.files import read_jsonl
from data.tiny.pool import ScenePoolConfig
from models.tiny.minicpmv import TinyMiniCPMVConfig
from train.engine.resume import Resume
from train.tiny import eddm as build
from train.tiny.config import BaseConfig
from train.tiny.eddm import Part, falling, train_base, train_part

ROOT = Path(__file__).resolve().parents[3]
SMALL = BaseConfig(
    model=TinyMiniCPMVConfig(vision_layers=2, text_layers=1),
    scenes=ScenePoolConfig(count=6),
    language_steps=2,
    vision_steps=2,
    reading_steps=2,
    language_batch=2,
    vision_batch=2,
    reading_batch=2,
    reading_scenes=6,
)


def test_parts_are_trained_once_and_put_together(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    train_part(SMALL, folder, Part.vision, seed=0)
    kept = tmp_path / "base.parts" / "vision.safetensors"
    before = kept.stat().st_mtime_ns
    train_part(SMALL, folder, Part.vision, seed=0)
    assert kept.stat().st_mtime_ns == before
    parts = load_file(kept)
    train_base(SMALL, folder, seed=0, log_to=tmp_path / "log.jsonl")
    assert [row["part"] for row in read_jsonl(tmp_path / "log.jsonl")] == ["language", "vision", "reading"]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "minicpmv4_6"
    base = load_file(folder / "model.safetensors")
    for number, module in enumerate(("vision_tower", "merger")):  # reading leaves them as they are
        own = {name.partition(".")[2]: value for name, value in parts.items() if name.startswith(f"{number}.")}
        assert own and all(torch.equal(base[f"model.{module}.{name}"], value) for name, value in own.items())
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["base", "base.identity.json", "base.json", "log.jsonl"]
    before = (folder / "model.safetensors").stat().st_mtime_ns
    train_base(SMALL, folder, seed=0, log_to=tmp_path / "log.jsonl")
    train_part(SMALL, folder, Part.vision, seed=0)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before and not kept.exists()


def test_a_trained_part_costs_nothing_and_only_vision_is_whitened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whitened: list[int] = []
    monkeypatch.setattr(build, "whiten_patches", lambda model, **settings: whitened.append(1))
    train_part(SMALL, tmp_path / "base", Part.language, seed=0)
    assert not whitened
    train_part(SMALL, tmp_path / "base", Part.vision, seed=0)
    assert len(whitened) == 1
    monkeypatch.setattr(build, "tiny_tokenizer", lambda size: pytest.fail("the model was built in vain"))
    for part in Part:
        train_part(SMALL, tmp_path / "base", part, seed=0)


def test_a_part_of_another_seed_is_refused_and_replaced_when_asked(tmp_path: Path) -> None:
    train_part(SMALL, tmp_path / "base", Part.language, seed=0)
    kept = tmp_path / "base.parts" / "language.safetensors"
    before = kept.read_bytes()
    with pytest.raises(UserError, match="seed is 1 instead of 0"):
        train_part(SMALL, tmp_path / "base", Part.language, seed=1)
    assert kept.read_bytes() == before
    train_part(SMALL, tmp_path / "base", Part.language, seed=1, resume=Resume.never)
    assert kept.read_bytes() != before
    assert len(read_jsonl(tmp_path / "base.parts" / "language.jsonl")) == 1


@pytest.mark.parametrize(("share", "factor"), [(0.0, 1.0), (0.5, 1.0), (0.75, 0.51), (1.0, 0.02)])
def test_the_rate_falls_after_a_plateau(share: float, factor: float) -> None:
    assert falling(share, 0.5) == pytest.approx(factor)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_9_in_every_part_changes_no_bit(tmp_path: Path) -> None:
    sizes = ["model.vision_layers=2", "model.text_layers=1", "scenes.count=6", "reading_scenes=6", "save_every=2"]
    sizes += [f"{part}_batch=2" for part in ("language", "vision", "reading")]
    sizes += [f"{part}_steps=30" for part in ("language", "vision", "reading")]

    def start(run: Path) -> "subprocess.Popen[bytes]":
        settings = [f"run_dir={run}", "part=eddm", *(f"eddm.{size}" for size in sizes)]
        command = [sys.executable, "-m", "scripts.train_tiny_base", *settings]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)

    assert start(tmp_path / "whole").wait() == 0
    parts = tmp_path / "cut" / "eddm" / "base.parts"
    for part in ("language", "vision", "reading"):
        process = start(tmp_path / "cut")
        while not list((parts / part).glob("step-*")):
            assert process.poll() is None, f"{part} ended before it could be interrupted"
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (parts / f"{part}.safetensors").exists()
    assert start(tmp_path / "cut").wait() == 0
    for name in ("base/model.safetensors", "log.jsonl"):
        assert (tmp_path / "cut" / "eddm" / name).read_bytes() == (tmp_path / "whole" / "eddm" / name).read_bytes()
