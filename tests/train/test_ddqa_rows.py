"""ms-swift's own loader and template take the rows that DDQA writes."""

import re
from pathlib import Path

import pytest

from data.ddqa.build import build_ddqa
from data.ddqa.config import BoxFormat, DDQAConfig
from data.ddqa.wording import Task
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.ddqa_rows import check_ddqa
from train.eddm_base.build import tiny_tokenizer


@pytest.mark.slow
def test_ms_swift_encodes_every_row_with_its_own_boxes(
    write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from swift import get_processor, get_template
    from swift.dataset import load_dataset

    config = TinyMiniCPMVConfig()
    tokenizer = tiny_tokenizer(1536)
    save_checkpoint(tmp_path / "base", build_model(config, tokenizer), build_processor(config, tokenizer))
    out = tmp_path / "out"
    paths = {"mvtec_ad": str(write_mvtec(normals=2, defects=3))}
    build_ddqa(DDQAConfig(preset="paper", sources=["mvtec_ad"], paths=paths, out=str(out), box_format=BoxFormat.swift))
    rows = check_ddqa(out / "train.jsonl")
    processor = get_processor(str(tmp_path / "base"), model_type="minicpmv4_6")
    template = get_template(processor, template_type="minicpmv4_6")
    template.set_mode("train")
    dataset, _ = load_dataset([str(out / "train.jsonl")], split_dataset_ratio=0, num_proc=1, strict=True)
    assert len(dataset) == len(rows)
    for row, loaded in zip(rows, dataset, strict=True):
        encoded = template.encode(dict(loaded))
        answer = processor.tokenizer.decode([token for token in encoded["labels"] if token >= 0])
        if row["task"] == Task.DFM:
            (box,) = row["objects"]["bbox"]
            scaled = [round(1000 * value / side) for value, side in zip(box, (64, 48, 64, 48), strict=True)]
            assert [int(digits) for digits in re.findall(r"\d+", answer)] == scaled
        else:
            assert row["answer"] in answer
