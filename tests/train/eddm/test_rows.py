"""Bad rows are named, and ms-swift's own loader and template take the rows that DDQA writes."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.build import build_ddqa
from data.ddqa.config import BoxFormat, DDQAConfig
from data.ddqa.wording import Task
from data.errors import UserError
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.eddm.rows import check_ddqa, to_swift_row
from train.tiny.eddm import tiny_tokenizer


def make_row(image: Path, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": "A"}]
    return {"messages": messages, "images": [str(image)], **changes}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return path


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_good_rows_pass(tmp_path: Path, image: Path) -> None:
    assert len(check_ddqa(write(tmp_path / "d.jsonl", make_row(image), make_row(image)))) == 2


def test_bad_rows_are_named(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "d.jsonl"
    no_tag = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "A"}]
    no_answer = [{"role": "user", "content": "<image>Is it?"}, {"role": "assistant", "content": " "}]
    text = tmp_path / "text.png"
    text.write_text("no image")
    swapped = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "<image>A"}]
    boxed = [{"role": "user", "content": "<image>Where?"}, {"role": "assistant", "content": "<bbox>"}]

    def change(**values: Any) -> list[dict[str, Any]]:
        question, answer = make_row(image)["messages"]
        return [question | values, answer]

    cases: list[tuple[Any, str]] = [
        (make_row(tmp_path / "missing.png"), "Missing image"),
        (make_row(image, messages=no_tag), "0 <image> tags but 1"),
        (make_row(image, images=[str(image)] * 2), "1 <image> tags but 2"),
        (make_row(image, images=[]), "No image"),
        (make_row(image, messages=no_answer), "Empty message"),
        (make_row(image, messages=no_tag[:1]), "Not a question with its answer"),
        (make_row(image, messages=["a", "b"]), "Not a question with its answer"),
        (make_row(image, images=[{"path": "x"}]), "No image"),
        (make_row(text), "Corrupt image: .*text"),
        (make_row(image, messages=change(content="<image><video>Is it?")), "<video> in a message"),
        (make_row(image, messages=change(loss=False)), "Unknown key 'loss'"),
        (make_row(image, messages=swapped), "<image> in the answer"),
        (make_row(image, messages=change(content="<image>Where is <bbox>?")), "1 <bbox> tags"),
        (make_row(image, objects={"ref": [], "bbox": [[0, 0, 1, 1]]}), "0 <bbox> tags"),
        (make_row(image, messages=boxed, objects={"ref": [], "bbox": [[3, 0, 1, 1]]}), "Not a box"),
        ([], "Not an object"),
    ]
    for row, message in cases:
        with pytest.raises(UserError, match=message) as error:
            check_ddqa(write(path, make_row(image), row))
        assert f"{path}, line 2" in str(error.value)


def test_an_empty_or_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scripts\.build_ddqa"):
        check_ddqa(write(tmp_path / "d.jsonl"))
    with pytest.raises(UserError, match="Missing file"):
        check_ddqa(tmp_path / "none.jsonl")


def test_boxes_reach_ms_swift_and_notes_do_not(tmp_path: Path, image: Path) -> None:
    boxed = [{"role": "user", "content": "<image>Where?"}, {"role": "assistant", "content": "<bbox>"}]
    objects = {"ref": [], "bbox": [[0, 0, 4, 4]]}
    (row,) = check_ddqa(write(tmp_path / "d.jsonl", make_row(image, messages=boxed, objects=objects, id="a")))
    assert to_swift_row(row) == {"messages": boxed, "images": [str(image)], "objects": objects}
    assert set(to_swift_row(make_row(image, id="a"))) == {"messages", "images"}


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


def test_rows_of_a_file_without_a_last_line_end_count(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    rows = [make_row(tmp_path / "a.png") for _ in range(3)]
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert check_ddqa(tmp_path / "own.jsonl") == rows
