"""The whole pipeline on a generated dataset; the MLLM is a stand-in, except in the slow test."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.errors import UserError
from data.files import read_jsonl
from eval.classification import evaluate as classification
from eval.classification.config import ClassificationConfig
from eval.classification.evaluate import run_classification
from eval.classification.names import Names
from eval.classification.velm import LOG, Row, summarise_gate
from models.chat.config import GREEDY, ApiConfig, Backend, ChatConfig
from models.chat.protocol import ChatRequest, Failure
from models.contour import RED
from models.velm.draw import ThresholdPolicy, VisualPromptConfig
from models.velm.prompt import PromptConfig, PromptStyle
from tests.models.chat.swift_server import serve

CLASSES = {
    name: {
        "normal": "Dark noise.",
        "classes": {"scratch": {"description": "A white square."}, "dent": {"description": "Round."}},
    }
    for name in ("nut", "ring")
}


class Stand:
    """Replies one thing; keeps the requests, and fails from the n-th on."""

    name = "stand-in"

    def __init__(self, reply: str = "scratch", fail_from: int = 1000) -> None:
        self.reply, self.fail_from, self.requests = reply, fail_from, list[ChatRequest]()

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        raise AssertionError("a streaming model is streamed")

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        for index, request in reversed(list(enumerate(requests))):  # answers come in any order
            self.requests.append(request)
            yield index, Failure("timed out") if len(self.requests) > self.fail_from else self.reply


@pytest.fixture
def config(tmp_path: Path, write_mvtec: Callable[..., Path]) -> ClassificationConfig:
    root = write_mvtec(categories=("nut", "ring"), normals=3, defects=2)
    (tmp_path / "classes.yaml").write_text(json.dumps(CLASSES))
    return ClassificationConfig(
        dataset="mvtec_ad",
        data_root=str(root),
        classes=str(tmp_path / "classes.yaml"),
        names=Names.normalised,
        out=str(tmp_path / "out"),
        resamples=10,
        seed=0,
        severity_seeds=[0],
        expert="oracle",
        mllm="stand-in",
        prompt=PromptConfig(image_size=56),
    )


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    found = Stand()
    monkeypatch.setattr(classification, "load_model", lambda config: found)
    return found


def test_gate_prompt_and_scores(config: ClassificationConfig, stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    result = run_classification(config)
    assert result["mean"]["accuracy"] == 100
    assert result["gate"] == {
        **{"images": 10, "asked": 4, "asked_percent": 40.0, "normal": 6, "unanswered": 0, "nothing_marked": 0},
        **{"normal_passed_percent": 100.0, "anomalous_passed_percent": 0.0},
    }
    assert len(stand.requests) == 4  # normal images are never asked about
    assert result["pipeline"]["sees_truth"] and "sees the true masks" in caplog.text
    request = stand.requests[0]
    assert len(request.images) == 3
    pictures = [cv2.imread(str(path)) for path in request.images]
    assert [picture.shape for picture in pictures] == [(56, 56, 3)] * 3
    red = [int((picture == RED[::-1]).all(-1).sum()) for picture in pictures]
    assert red[0] == red[1] == 0 < red[2]
    page = (Path(config.out) / "report.html").read_text()
    assert page.count("data:image/jpeg") == 12 and "Named rightly" in page
    saved = json.loads((Path(config.out) / "results.json").read_text())
    assert saved["categories"]["ring"]["macro_f1"] == 100


def test_resumes(config: ClassificationConfig, stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    stand.fail_from = 3
    result = run_classification(config)
    assert result["gate"]["unanswered"] == 1 and result["unknown"]["count"] == 1
    assert result["mean"]["accuracy"] == pytest.approx(90)
    assert "counted as unknown: 1 of 4 questions (25.00 %)" in caplog.text
    stand.fail_from = 1000
    stand.requests.clear()
    with (Path(config.out) / LOG).open("a") as file:
        file.write('{"id": "torn')  # the process died while it wrote
    assert run_classification(config)["mean"]["accuracy"] == 100
    assert len(stand.requests) == 1
    stand.requests.clear()
    run_classification(config)
    assert not stand.requests
    run_classification(replace(config, prompt=PromptConfig(image_size=56, normal=False)))
    assert len(stand.requests) == 4  # another prompt is another question
    assert len(read_jsonl(Path(config.out) / LOG)) == 21  # the failure stays in the log


def test_the_published_style_sends_three_squares_with_the_published_line(
    config: ClassificationConfig, stand: Stand
) -> None:
    settings = replace(config, prompt=PromptConfig(style=PromptStyle.published), visual=VisualPromptConfig())
    run_classification(settings)
    pictures = [cv2.imread(str(path))[..., ::-1] for path in stand.requests[0].images]
    assert [picture.shape for picture in pictures] == [(448, 448, 3)] * 3
    changed = (pictures[1] != pictures[2]).any(-1)
    assert changed.any() and (pictures[2][changed] == (255, 0, 0)).all()
    assert (pictures[2] == RED).all(-1).sum() == 0


@pytest.fixture(params=[None, 56], ids=["own size", "56 pixels"])
def answered(request: pytest.FixtureRequest, config: ClassificationConfig, stand: Stand) -> ClassificationConfig:
    """A pipeline whose four questions were paid for."""
    config = replace(config, prompt=PromptConfig(image_size=request.param))
    run_classification(config)
    assert len(stand.requests) == 4
    stand.requests.clear()
    return config


def test_another_way_of_decoding_asks_again(
    answered: ClassificationConfig, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GREEDY, "repetition_penalty", 1.05)
    run_classification(answered)
    assert len(stand.requests) == 4


def test_a_moved_dataset_asks_nothing(answered: ClassificationConfig, stand: Stand) -> None:
    root = Path(answered.data_root)
    moved = root.rename(root.with_name("elsewhere"))
    result = run_classification(replace(answered, data_root=str(moved)))
    assert not stand.requests and result["mean"]["accuracy"] == 100


def test_a_new_label_changes_the_score_and_asks_nothing(answered: ClassificationConfig, stand: Stand) -> None:
    root = Path(answered.data_root)
    for part in ("test", "ground_truth"):
        (root / "nut" / part / "scratch").rename(root / "nut" / part / "dent")
    result = run_classification(answered)
    assert not stand.requests
    assert result["confusion"]["nut"]["classes"] == ["good", "dent", "scratch"]
    assert result["mean"]["accuracy"] < 100


def test_only_a_mask_that_looks_different_is_asked_about(answered: ClassificationConfig, stand: Stand) -> None:
    path = Path(answered.data_root) / "nut" / "ground_truth" / "scratch" / "000_mask.png"
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(path), mask, [cv2.IMWRITE_PNG_COMPRESSION, 0])  # other bytes, the same mask
    run_classification(answered)
    assert not stand.requests
    cv2.imwrite(str(path), mask[::-1])
    run_classification(answered)
    assert len(stand.requests) == 1


def test_class_descriptions_are_found_from_any_directory(
    config: ClassificationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert classification.class_file(replace(config, classes="", dataset="mvtec_ac")).is_file()


def test_without_a_single_answer_nothing_is_scored(config: ClassificationConfig, stand: Stand) -> None:
    stand.fail_from = 0
    with pytest.raises(UserError, match=r"No question got an answer, 4 were asked: timed out"):
        run_classification(config)
    assert not (Path(config.out) / "results.json").exists()


@pytest.mark.parametrize(
    "reply", ["Kratzer", "scratch or dent", "none of these", "good", "I cannot help with that.", ""]
)
def test_other_replies_are_unknown_and_wrong(config: ClassificationConfig, stand: Stand, reply: str) -> None:
    stand.reply = reply
    result = run_classification(replace(config, prompt=PromptConfig(image_size=56, open_set=True)))
    assert result["unknown"]["count"] == 4 and result["unknown"]["rate"] == 40
    assert result["mean"]["accuracy"] == pytest.approx(60)
    assert result["none_of_these"] == (4 if reply == "none of these" else 0)


def test_flagged_without_a_pixel_above_the_threshold(
    config: ClassificationConfig, stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    visual = VisualPromptConfig(policy=ThresholdPolicy.value, value=2.0)  # the oracle's maps end at 1
    result = run_classification(replace(config, visual=visual))
    assert result["gate"]["nothing_marked"] == 4 and "without outline: 4" in caplog.text
    assert all(len(request.images) == 2 for request in stand.requests)  # the reference and the query


def bad_classes(config: ClassificationConfig, value: dict) -> ClassificationConfig:
    Path(config.classes).write_text(json.dumps(value))
    return config


def test_bad_input(config: ClassificationConfig, stand: Stand) -> None:
    root = Path(config.data_root)
    tested = {"nut": str(root / "nut/test/good/000.png")}
    for changes, message in [
        ({"references": tested}, "one of the evaluated images"),
        ({"references": {"nut": "/none.png"}}, "Missing reference image"),
        ({"references": {"gear": "x.png"}}, "not among the categories"),
        ({"expert": "patchcore", "expert_dir": str(root)}, "No fitted expert"),
        ({"expert": "wizard"}, "Unknown expert 'wizard'.*anomalib:<Model>"),
        ({"mllm": ""}, "Give predictions=FILE .* or mllm="),
        ({"mllm": "eddm"}, "run=RUN go together"),
        ({"predictions": "p.json"}, "Give one of the two"),
        ({"classes": ""}, "No class descriptions of 'mvtec_ad'"),
    ]:
        with pytest.raises(UserError, match=message):
            run_classification(replace(config, **changes))
    dents = {"dent": {"description": "d"}}
    lacks = {name: {"normal": "n", "classes": dents} for name in CLASSES}
    with pytest.raises(UserError, match="Class without a description: 'scratch'"):
        run_classification(bad_classes(config, lacks))
    same = {name: {"normal": "n", "classes": dents | {"scratch": {"description": "D "}}} for name in CLASSES}
    with pytest.raises(UserError, match="same description for 'dent' and 'scratch'"):
        run_classification(bad_classes(config, same))
    with pytest.raises(UserError, match="No description of category 'ring'"):
        run_classification(bad_classes(config, {"nut": CLASSES["nut"]}))
    assert not stand.requests


def test_a_copy_of_a_test_image_is_no_reference(config: ClassificationConfig, stand: Stand, tmp_path: Path) -> None:
    copied = tmp_path / "copy.png"
    copied.write_bytes((Path(config.data_root) / "ring/test/scratch/000.png").read_bytes())
    with pytest.raises(UserError, match="one of the evaluated images"):
        run_classification(replace(config, references={"ring": str(copied)}))


def test_a_dataset_without_training_images_needs_a_reference(config: ClassificationConfig, stand: Stand) -> None:
    for path in Path(config.data_root).glob("*/train/good/*.png"):
        path.unlink()
    with pytest.raises(UserError, match="No normal training image of 'nut'"):
        run_classification(config)
    result = run_classification(replace(config, prompt=PromptConfig(image_size=56, reference=False)))
    assert result["mean"]["accuracy"] == 100


def test_gate_of_nothing_but_defects() -> None:
    row = Row(
        **dict.fromkeys(("id", "key", "category", "name", "reply", "query", "reference", "visual"), ""),
        **{"truth": "dent", "score": 1.0, "threshold": 2.0, "passed": True, "nothing_marked": False},
    )
    summary = summarise_gate([row])
    assert (summary["normal_passed_percent"], summary["anomalous_passed_percent"], summary["asked"]) == (None, 100, 0)


@pytest.mark.slow
def test_through_a_real_server(config: ClassificationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`swift deploy` of a tiny MiniCPM-V with random weights, asked through our client."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
    from train.tiny.eddm import tiny_tokenizer

    torch.manual_seed(0)
    tiny, tokenizer = TinyMiniCPMVConfig(text_layers=2, vision_layers=2), tiny_tokenizer(1536)
    folder = tmp_path / "tiny"
    model = build_model(tiny, tokenizer)
    with torch.no_grad():  # a random model repeats the line break that its prompt ends with: let it prefer visible text
        silent = [
            index for index in range(len(tokenizer)) if not tokenizer.decode([index], skip_special_tokens=True).strip()
        ]
        model.get_input_embeddings().weight[silent] *= 0.01
    save_checkpoint(folder, model, build_processor(tiny, tokenizer))
    with serve(folder, "tiny") as url:
        asked = replace(
            config,
            mllm="tiny",
            chat=ChatConfig(backend=Backend.api, api=ApiConfig(base_url=url, concurrency=2, retries=1)),
            prompt=PromptConfig(image_size=64, max_tokens=8),
        )
        result = run_classification(asked)
    rows = [row for row in read_jsonl(Path(config.out) / LOG) if not row["passed"]]
    assert len(rows) == 4 and all(row["reply"] for row in rows)
    assert result["pipeline"]["choice"] == "generate"
    assert result["gate"]["asked"] == 4
    assert np.isfinite(result["mean"]["accuracy"])
