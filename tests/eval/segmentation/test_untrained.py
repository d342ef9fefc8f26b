"""The real MDLM through the real evaluation and inspection, untrained: near chance, as it must be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data.files import write_json
from data.run import Run
from data.sample import load_image
from data.source import DataConfig, Source
from data.training.grounding import DescriptionMode
from eval.inspection.config import InspectConfig
from eval.inspection.run import as_json, run_inspection
from eval.segmentation.config import SegmentationConfig
from eval.segmentation.evaluate import evaluate_segmentation
from eval.segmentation.prompts import TextSource
from models.mdlm.files import save_adapter
from models.mdlm.llava import LlavaConfig
from models.mdlm.model import MDLMConfig, create_mdlm
from models.mdlm.sam import SamConfig
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer


@pytest.fixture
def untrained_run(run: Run) -> Run:
    tokenizer = build_tiny_tokenizer(["The image shows a washer. There is a hole at the top left."], 300)
    base = run.mdlm / "base" / "llava"
    build_tiny_llava(TinyLlavaConfig(width=32, layers=1, mlp=64, vision_width=32), tokenizer, seed=0).save_pretrained(
        base
    )
    tokenizer.save_pretrained(base)
    sam = SamConfig(image_size=64, width=32, depth=1, heads=2, global_layers=[0], channels=32, decoder_mlp=64)
    config = MDLMConfig(llava=LlavaConfig(path=str(base)), sam=sam)
    model = create_mdlm(config)
    assert model.processor is not None
    save_adapter(model, model.processor.tokenizer, config, run.mdlm / "fixed")
    write_json(
        run.mdlm / "fixed" / "config.json",
        {"data": {"train": [{"reader": "mvtec_ad", "root": str(run.data / "seen")}]}},
    )
    return run


def test_an_untrained_model_is_near_chance(untrained_run: Run) -> None:
    sides = [[Source(reader="mvtec_ad", root=str(untrained_run.data / side))] for side in ("seen", "unseen")]
    config = SegmentationConfig(
        preset="tiny",
        run=str(untrained_run.path),
        data=DataConfig(train=sides[0], zero_shot=sides[1]),
        description=TextSource.fixed,
        batch_size=5,
    )
    summary = evaluate_segmentation(config)
    assert summary["new_maps"] == summary["images"]["total"] == 12
    assert 20 < summary["mean"]["pixel_auroc"] < 80
    assert evaluate_segmentation(config)["new_maps"] == 0


def test_inspection_with_the_real_model(untrained_run: Run, tmp_path: Path) -> None:
    image = untrained_run.data / "unseen" / "tile" / "test" / "hole" / "003.png"
    config = InspectConfig(
        run=str(untrained_run.path),
        images=str(image),
        out=str(tmp_path / "out"),
        description=DescriptionMode.fixed,
    )
    result = as_json(run_inspection(config))
    assert 0 < result["score"] < 1 and result["said"] == "" and result["verdict"] in ("ok", "defect")
    assert load_image(Path(result["overlay"])).shape == load_image(image).shape
    assert (untrained_run.path / "familiar.safetensors").is_file()


@pytest.mark.slow
def test_the_command_prints_one_line_of_json(untrained_run: Run, tmp_path: Path) -> None:
    image = untrained_run.data / "unseen" / "tile" / "test" / "hole" / "003.png"
    arguments = [f"images={image}", f"run={untrained_run.path}", f"out={tmp_path / 'out'}", "description=fixed"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.inspect", *arguments], capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert {"description", "score", "mask", "overlay"} <= set(json.loads(line))
