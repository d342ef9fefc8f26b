"""The command that made the shipped bases, a little of it: every part learns."""

from pathlib import Path

import numpy as np
import pytest

from data.files import read_jsonl
from data.run import Run
from scripts.command import compose_config
from train.tiny.config import TinyBaseConfig
from train.tiny.train import train_tiny_base

SHORT = [
    *("eddm.language_steps=30", "eddm.vision_steps=40", "eddm.reading_steps=10"),
    *("eddm.language_batch=16", "eddm.vision_batch=8", "eddm.scenes.count=200", "eddm.reading_scenes=60"),
    *("mdlm.scenes.scenes=60", "mdlm.language.steps=40", "mdlm.encoder.steps=30", "mdlm.decoder.steps=40"),
    "mdlm.referring.steps=3",
]


@pytest.mark.slow
def test_a_short_run_of_the_same_command_learns(tmp_path: Path) -> None:
    train_tiny_base(compose_config("train_tiny_base", TinyBaseConfig, [f"run_dir={tmp_path}", *SHORT]))
    run = Run(tmp_path)
    eddm = {
        part: [row for row in read_jsonl(run.eddm / "log.jsonl") if row["part"] == part]
        for part in ("language", "vision")
    }
    assert eddm["language"][-1]["language"] < 0.5 * eddm["language"][0]["language"]
    assert eddm["vision"][-1]["spelling"] < 0.5 * eddm["vision"][0]["spelling"]
    rows = read_jsonl(run.mdlm / "base" / "log.jsonl")
    for part in ("language", "encoder", "decoder"):
        losses = [row["loss"] for row in rows if row["part"] == part]
        assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3]), part
    assert (run.eddm / "base" / "model.safetensors").is_file() and (run.mdlm / "base" / "replay.json").is_file()
