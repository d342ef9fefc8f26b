"""The whole tiny path in a few steps: base in full, LoRA through ms-swift, reload, exam, descriptions, a moved run."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from transformers.models.minicpmv4_6 import modeling_minicpmv4_6

from data.ddqa.tasks import AD_OPTIONS, Task, format_box, format_prompt
from data.files import read_jsonl
from data.run import Run
from data.source import DataConfig
from data.tiny.scenes import make_scene
from data.training.descriptions import DescribeMode, Manner
from eval.ddqa.exam import ExamConfig, run_exam
from models.chat.protocol import ChatRequest
from models.chat.swift import SwiftChat, SwiftChatConfig
from models.eddm.describe import DescribeConfig, describe
from models.eddm.eddm import load_eddm
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from models.weights.trust import admit
from scripts.command import CONFIGS, to_dataclass
from train.eddm import train
from train.eddm.config import EDDMConfig
from train.eddm.watch import Watch
from train.tiny.config import TinyBaseConfig
from train.tiny.eddm import tiny_tokenizer
from train.tiny.train import train_tiny_base

pytestmark = pytest.mark.slow
BASE = ["language_steps=4", "vision_steps=3", "reading_steps=3", "save_every=4", "scenes.count=20"]


def write_ddqa(run: Run) -> None:
    """Twelve scenes with an AD question each, and a DFM question where there is one mark."""
    folder, rows = run.path / "images", []
    folder.mkdir(parents=True)
    for index in range(12):
        scene = make_scene(np.random.default_rng(index), 64, marks=index % 2)
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), scene.image)
        asked = [(Task.AD, AD_OPTIONS, "B" if scene.marks else "A")]
        asked += [(Task.DFM, (), format_box(scene.marks[0].box, (64, 64)))] if scene.marks else []
        for task, options, answer in asked:
            messages = [
                {"role": "user", "content": "<image>" + format_prompt(task, options)},
                {"role": "assistant", "content": answer},
            ]
            row = {"messages": messages, "images": [str(path)], "task": task.value, "answer": answer}
            defect = scene.marks[0].defect if scene.marks else None
            rows.append(row | {"options": list(options), "category": "scene", "id": path.name, "defect": defect})
    run.ddqa.mkdir()
    for part in ("train", "zero_shot"):
        (run.ddqa / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("eddm") / "run")
    write_ddqa(run)
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        settings = [f"run_dir={run.path}", "part=eddm", *(f"eddm.{one}" for one in BASE)]
        base = to_dataclass(compose("train_tiny_base", settings), TinyBaseConfig)
    train_tiny_base(base)
    train.train_eddm(make_config(run))
    return run


def make_config(run: Run, *overrides: str) -> EDDMConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        settings = [f"run_dir={run.path}", "optim.max_steps=3", "base=train", *overrides]
        return to_dataclass(compose("train_eddm", settings), EDDMConfig)


def test_both_stages_leave_their_traces(run: Run) -> None:
    stages = {row["stage"] for row in read_jsonl(run.eddm / "log.jsonl")}
    assert stages == {"base", "lora"}
    details = json.loads((run.eddm / "adapter" / "adapter_config.json").read_text())
    assert (details["r"], details["lora_alpha"], details["base_model_name_or_path"]) == (8, 32, "../base")
    assert not list(run.eddm.glob("*.resume.pt")) and not (run.eddm / "lora").exists()


def test_a_model_that_is_not_tiny_trains_as_its_library_made_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = modeling_minicpmv4_6.MiniCPMV4_6VisionAttention
    stock, seen = tower.forward, []
    sizes = TinyMiniCPMVConfig(text_intermediate=20_000)
    tokenizer = tiny_tokenizer(sizes.vocab_size)
    save_checkpoint(tmp_path / "large", build_model(sizes, tokenizer), build_processor(sizes, tokenizer))

    class Spy(Watch):
        def on_step_end(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
            vision = model.get_base_model().model.vision_tower
            seen.append((tower.forward is stock, vision.config._attn_implementation))
            super().on_step_end(*args, model=model, **kwargs)

    monkeypatch.setattr(train, "Watch", Spy)
    own = Run(tmp_path / "own")
    settings = [f"model.id={tmp_path / 'large'}", f"questions=[{run.ddqa / 'train.jsonl'}]", "model.attn_impl=sdpa"]
    train.train_eddm(make_config(own, *settings, "optim.max_steps=1", "optim.fast_matmul=false"))
    assert seen == [(True, "sdpa")]
    seen.clear()
    tiny = [f"model.id={run.eddm / 'base'}", settings[1], "optim.max_steps=1"]
    train.train_eddm(make_config(Run(tmp_path / "tiny"), *tiny))
    assert seen == [(False, "eager")]
    assert tower.forward is stock


def test_a_finished_training_is_skipped(run: Run) -> None:
    before = (run.eddm / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    train.train_eddm(make_config(run))
    assert (run.eddm / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_descriptions_and_exam_run_on_the_result(run: Run) -> None:
    images = str(run.path / "images")
    config = DescribeConfig(preset="tiny", run=str(run.path), data=DataConfig(train=[], zero_shot=[]), folder=images)
    path = describe(config)
    rows = read_jsonl(path)
    assert len(rows) == 12
    describe(config)
    assert read_jsonl(path) == rows
    result = run_exam(ExamConfig(run=str(run.path)))
    assert result["counts"]["AD"] == 12
    assert json.loads((run.eval / "eddm.json").read_text())["AD"] == result["AD"]


def test_a_moved_run_gives_the_same_replies(run: Run, tmp_path: Path) -> None:
    image = run.path / "images" / "1.png"
    expected = load_eddm(run).describe([image], Manner(DescribeMode.free))
    shutil.copytree(run.path, tmp_path / "elsewhere")
    moved = Run(tmp_path / "elsewhere")
    assert load_eddm(moved).describe([image], Manner(DescribeMode.free)) == expected


def test_ms_swifts_engine_replies_the_same(run: Run) -> None:
    eddm = load_eddm(run)
    config = SwiftChatConfig(
        model=admit(run.eddm / "base"),
        model_type="minicpmv4_6",
        template="minicpmv4_6",
        torch_dtype="float32",
        device_map="cpu",
    )
    engine = SwiftChat(config, run.eddm / "adapter", name="swift")
    requests = [
        ChatRequest(run.path / "images" / f"{index}.png", format_prompt(task, options), 12)
        for index in range(4)
        for task, options in ((Task.AD, AD_OPTIONS), (Task.DFM, ()))
    ]
    assert engine.chat(requests) == eddm.chat.chat(requests)
