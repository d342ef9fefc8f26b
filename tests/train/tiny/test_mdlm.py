"""The MDLM's base at toy size: its stages, what a kill leaves, and the replay items that it keeps."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.errors import UserError
from data.files import read_jsonl
from data.tiny.drawn import DrawnScenes
from data.tiny.referring import ReferringScenes
from models.mdlm.sam import SamAttention
from train.mdlm import loop as loop_module
from train.tiny.config import TinyBaseConfig
from train.tiny.train import train_tiny_base

MakeBaseConfig = Callable[[str], TinyBaseConfig]


class Killed(BaseException):
    """Stands for Ctrl-C or a power cut."""


def test_the_stages_follow_each_other_and_are_trained_once(
    trained_base: Path, make_base_config: MakeBaseConfig, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [row["part"] for row in read_jsonl(trained_base / "mdlm" / "base" / "log.jsonl")]
    assert stages == ["language"] * 3 + ["encoder"] * 3 + ["decoder"] * 3 + ["referring"] * 3
    config = make_base_config("run")
    config.run_dir = str(trained_base)
    config.mdlm.sam.attention = SamAttention.eager  # a kernel is no other training
    with caplog.at_level(logging.INFO):
        train_tiny_base(config)
    assert "already trained" in caplog.text
    config.mdlm.decoder.steps = 4
    with pytest.raises(UserError, match=r"mdlm\.decoder\.steps is 4 instead of 3.*resume=never"):
        train_tiny_base(config)


def test_the_replay_items_are_the_scenes_to_the_last_pixel(
    trained_base: Path, make_base_config: MakeBaseConfig
) -> None:
    config = make_base_config("run").mdlm
    scenes = ReferringScenes(config.replay, size=config.sam.image_size, seed=0)
    items = DrawnScenes(trained_base / "mdlm" / "base" / "replay.json")
    assert len(items) == len(scenes) == 6
    for index in range(6):
        again, drawn = items.get(3, index), scenes.get(0, index)
        assert (again.id, again.prompts) == (drawn.id, drawn.prompts)
        assert np.array_equal(again.image, drawn.image) and np.array_equal(again.masks, drawn.masks)


def test_a_base_killed_between_and_within_its_stages_ends_the_same(
    make_base_config: MakeBaseConfig, monkeypatch: pytest.MonkeyPatch, trained_base: Path
) -> None:
    killed = make_base_config("killed")
    original, left = loop_module.save_checkpoint, [0]

    def save(*args: Any, **more: Any) -> None:
        original(*args, **more)
        left[0] -= 1
        if not left[0]:
            raise Killed

    for checkpoints in (2, 3):  # after the first stage; in the middle of the third
        left[0] = checkpoints
        with monkeypatch.context() as patch:
            patch.setattr(loop_module, "save_checkpoint", save)
            with pytest.raises(Killed):
                train_tiny_base(killed)
        torch.manual_seed(99)
    train_tiny_base(killed)
    for name in ("sam.safetensors", "heads.safetensors", "llava/model.safetensors"):
        whole = load_file(trained_base / "mdlm" / "base" / name)
        resumed = load_file(Path(killed.run_dir) / "mdlm" / "base" / name)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
