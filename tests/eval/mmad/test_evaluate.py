"""The whole evaluation on a generated MMAD: ask, log, go on, score."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.files import append_jsonl, read_json, read_jsonl, write_json
from data.mmad import MMADConfig, TemplateKind, read_knowledge, read_mmad
from eval.mmad import evaluate as module
from eval.mmad.answers import read_answers
from eval.mmad.evaluate import EvalMMADConfig, evaluate_mmad
from eval.mmad.prompt import AskConfig, WordingConfig, plan_questions
from models.chat.config import GREEDY, ApiConfig, Backend, VLMConfig
from models.chat.protocol import ChatRequest, Failure
from models.device import Precision
from tests.eval.mmad.mmad_tree import write_mmad
from tests.models.chat.fake_server import Server

EIAD = WordingConfig(
    name="eiad",
    question="{question}\n{options}Answer with the option's letter from the given choices directly.",
    templates="{count} normal:",
    query="Query:",
    knowledge="Known:\n{knowledge}",
)


class FakeChat:
    """Says A; counts what it is asked."""

    def __init__(self, name: str = "fake", reply: str = "A") -> None:
        self.name, self.reply = name, reply
        self.requests: list[ChatRequest] = []

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.requests += requests
        return [self.reply] * len(requests)


class FlakyChat(FakeChat):
    """Fails on some questions."""

    broken = True

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        self.requests += requests
        for index, request in reversed(list(enumerate(requests))):
            bad = self.broken and "Where" in request.prompt
            yield index, Failure("status 500, after 3 attempts") if bad else "B"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mmad(tmp_path / "MMAD")
    return tmp_path / "MMAD"


def config(root: Path, **values: Any) -> EvalMMADConfig:
    defaults = {"data_root": str(root), "wording": EIAD, "out": str(root.parent / "out")}
    return EvalMMADConfig(**defaults | values)


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    fake = FakeChat()
    monkeypatch.setattr(module, "load_chat", lambda model, config, **how: fake)
    return fake


def test_the_0_shot_prompt_is_that_of_eiad(root: Path) -> None:
    mmad = read_mmad(MMADConfig(data_root=str(root)), check_images=True)
    plan, skipped = plan_questions(mmad, AskConfig(wording=EIAD), {})
    assert not skipped
    assert plan[0].request.before == ()
    assert plan[0].request.prompt == (
        "Is there any defect in the object?\nA. Yes.\nB. No.\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_templates_and_knowledge_come_before_the_image(root: Path) -> None:
    mmad = read_mmad(MMADConfig(data_root=str(root)), check_images=True)
    ask = AskConfig(wording=EIAD, shots=2, template=TemplateKind.similar, knowledge=True)
    plan, _ = plan_questions(mmad, ask, read_knowledge(root))
    templates = root / "MVTec-AD/bottle/train/good"
    expected = ("Known:\nIt is whole.\nA line through it.", "2 normal:", templates / "000.png", templates / "001.png")
    assert plan[0].request.before == (*expected, "Query:")
    assert len({planned.request.before for planned in plan[:7]}) == 1
    (templates / "002.png").unlink()
    _, skipped = plan_questions(mmad, AskConfig(wording=EIAD, shots=3), {})
    assert [(one.image.split("/")[0], one.reason) for one in skipped] == [
        ("DS-MVTec", "fewer than 3 random templates on disk"),
        ("DS-MVTec", "fewer than 3 random templates on disk"),
    ]


def test_a_bad_wording_is_named(root: Path) -> None:
    mmad = read_mmad(MMADConfig(data_root=str(root)), check_images=True)
    with pytest.raises(UserError, match="placeholder"):
        plan_questions(mmad, AskConfig(wording=WordingConfig(name="x", question="{query}")), {})


def test_asks_logs_and_scores(root: Path, chat: FakeChat) -> None:
    results = evaluate_mmad(config(root, mllm="m", mode="generate"))
    rows = read_jsonl(root.parent / "out" / "answers.jsonl")
    assert len(rows) == results["questions"] == results["answered"] == 47
    assert {"image", "question", "type", "answer", "reply", "choice", "model", "key"} <= rows[0].keys()
    assert (rows[0]["choice"], rows[0]["answer"]) == ("A", "A")
    mean = results["mean"]
    assert mean["anomaly_discrimination"] == 50  # all abnormal right, all normal wrong
    assert (mean["overkill"], mean["miss"], mean["unparsable"]) == (100, 0, 0)
    assert mean["object_analysis"] == 100
    assert mean["average"] == pytest.approx((50 + 0 + 0 + 100 + 0 + 0 + 100) / 7)
    stored = read_json(root.parent / "out" / "results.json")
    assert sorted(stored["datasets"]) == ["DS-MVTec", "GoodsAD", "MVTec-LOCO", "VisA"]
    assert sorted(stored["datasets"]["DS-MVTec"]["categories"]) == ["bottle", "zipper"]
    low, high = stored["mean"]["interval"]["average"]
    assert low < mean["average"] < high
    for name in ("mmad.md", "mmad.html"):
        text = (root.parent / "out" / name).read_text()
        assert "MVTec-LOCO" in text
        assert f"{mean['average']:.1f}" in text


def test_another_way_of_decoding_asks_again(root: Path, chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(root, mllm="m", mode="generate")
    evaluate_mmad(settings)
    chat.requests.clear()
    evaluate_mmad(settings)
    assert not chat.requests
    for change in ({"repetition_penalty": 1.05}, {"do_sample": True}):
        with monkeypatch.context() as patch:
            for name, value in change.items():
                patch.setitem(GREEDY, name, value)
            evaluate_mmad(settings)
        assert len(chat.requests) == 47
        chat.requests.clear()
    evaluate_mmad(config(root, mllm="m", mode="generate", max_tokens=17))
    assert len(chat.requests) == 47


def test_what_ranks_wrote_before_an_interruption_is_taken_in(root: Path, chat: FakeChat) -> None:
    settings = config(root, mllm="m", mode="generate")
    whole = evaluate_mmad(settings)
    log = root.parent / "out" / "answers.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.unlink()
    log.with_name("answers.rank0.jsonl").write_text("".join(lines[:7]))
    log.with_name("answers.rank1.jsonl").write_text("".join(lines[7:12]) + '{"torn')
    chat.requests.clear()
    assert evaluate_mmad(settings) == whole
    assert len(chat.requests) == 35
    assert [path.name for path in log.parent.glob("answers*")] == [log.name]


@pytest.mark.parametrize("local", [True, False])
def test_each_rank_has_its_own_device(root: Path, monkeypatch: pytest.MonkeyPatch, local: bool) -> None:
    placed: list[str] = []
    asked, number = {"run": str(root)} if local else {"mllm": "m"}, Precision.float32

    def load(*arguments: Any, where: Any = None, **others: Any) -> Any:
        placed.append((where or arguments[1].local).place().where)
        raise UserError("seen")

    monkeypatch.setattr(module, "load_eddm" if local else "load_chat", load)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        with pytest.raises(UserError, match="seen"):
            evaluate_mmad(config(root, **asked, precision=number, local=VLMConfig(precision=number)))
    assert placed == ["cuda:0", "cuda:1"]


def test_an_interrupted_run_goes_on(root: Path, chat: FakeChat, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_mmad(config(root, mllm="m", mode="generate"))
    log = root.parent / "out" / "answers.jsonl"
    text = log.read_text()
    lines = text.splitlines(keepends=True)
    log.write_text("".join(lines[:20]) + lines[20][:30])  # torn while it was written
    chat.requests.clear()
    assert evaluate_mmad(config(root, mllm="m", mode="generate")) == whole
    assert len(chat.requests) == 27
    assert [json.loads(line)["key"] for line in log.read_text().splitlines()] == [
        json.loads(line)["key"] for line in text.splitlines()
    ]
    chat.requests.clear()
    assert evaluate_mmad(config(root, mllm="m", mode="generate")) == whole
    assert not chat.requests


@pytest.mark.parametrize("change", [{"shots": 1}, {"knowledge": True}, {"max_tokens": 3}, {"name": "other"}])
def test_another_prompt_or_model_is_asked_anew(root: Path, chat: FakeChat, change: dict[str, Any]) -> None:
    evaluate_mmad(config(root, mllm="m", mode="generate"))
    chat.requests.clear()
    chat.name = change.pop("name", chat.name)
    evaluate_mmad(config(root, mllm="m", mode="generate", **change))
    assert len(chat.requests) == 47
    answers = str(root.parent / "out" / "answers.jsonl")
    if "max_tokens" not in change:  # it changes the prompt, but names no setting that scores differ by
        with pytest.raises(UserError, match="mixes 2 models or settings"):
            evaluate_mmad(config(root, answers=answers))


def test_failures_are_named_wrong_and_asked_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flaky = FlakyChat()
    monkeypatch.setattr(module, "load_chat", lambda model, config, **how: flaky)
    results = evaluate_mmad(config(root, mllm="m", mode="generate"))
    assert "counted as wrong: 5 of 47 (10.64 %)" in caplog.text
    assert (results["questions"], results["answered"], results["unanswered"]) == (47, 42, 5)
    assert results["failures"] == {"status 500, after 3 attempts": 5}
    assert results["mean"]["defect_localization"] == 0
    log = root.parent / "out" / "answers.jsonl"
    failed = [row for row in read_jsonl(log) if row.get("failure")]
    assert {(row["reply"], row["choice"]) for row in failed} == {("", None)}
    again = evaluate_mmad(config(root, answers=str(log), mode="generate"))
    assert (again["answered"], again["unanswered"], again["failures"]) == (42, 5, results["failures"])
    assert again["mean"]["average"] == pytest.approx(results["mean"]["average"])
    named = [row for row in read_jsonl(root.parent / "out" / "skipped.jsonl") if row["kind"] == "no answer"]
    assert len(named) == 5 and all("Where" in row["question"] for row in named)
    flaky.broken = False
    flaky.requests.clear()
    results = evaluate_mmad(config(root, mllm="m", mode="generate"))
    assert len(flaky.requests) == 5
    assert (results["unanswered"], results["failures"], results["rejected_rows"]) == (0, {}, {})
    assert evaluate_mmad(config(root, answers=str(log), mode="generate"))["rejected_rows"] == {}
    published = evaluate_mmad(config(root, answers=str(log), mode="mmad-compat"))
    assert published["published_scorer"]["without a letter"] == 0


def test_an_empty_reply_is_a_wrong_answer_and_final(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = FakeChat(reply="")
    monkeypatch.setattr(module, "load_chat", lambda model, config, **how: silent)
    results = evaluate_mmad(config(root, mllm="m", mode="generate"))
    assert (results["answered"], results["empty_replies"], results["unanswered"]) == (47, 47, 0)
    assert (results["mean"]["unparsable"], results["mean"]["average"]) == (100, 0)
    silent.requests.clear()
    evaluate_mmad(config(root, mllm="m", mode="generate"))
    assert not silent.requests


def test_without_a_single_answer_nothing_is_scored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = FlakyChat()
    monkeypatch.setattr(dead, "stream", lambda requests: ((i, Failure("status 500")) for i in range(len(requests))))
    monkeypatch.setattr(module, "load_chat", lambda model, config, **how: dead)
    with pytest.raises(UserError, match=r"No question got an answer: \{'status 500': 47\}"):
        evaluate_mmad(config(root, mllm="m", mode="generate"))
    assert not (root.parent / "out" / "results.json").exists()


def write_log(root: Path, path: Path, reply: str, choice: str | None) -> None:
    mmad = read_mmad(MMADConfig(data_root=str(root)), check_images=False)
    append_jsonl(
        path,
        (
            {
                "image": image.key,
                "question": q.text,
                "type": q.type,
                "answer": q.answer,
                "reply": reply,
                "choice": choice,
            }
            for image in mmad.images
            for q in image.questions
        ),
    )


def test_an_existing_log_is_scored_in_every_mode(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log" / "answers.jsonl"
    write_log(root, log, "It is A, not B", None)
    honest = evaluate_mmad(config(root, answers=str(log), mode="generate", out=""))
    assert honest["mean"]["unparsable"] == 100
    assert honest["mean"]["average"] == 0
    assert (log.parent / "results.json").is_file()
    published = evaluate_mmad(config(root, answers=str(log), mode="mmad-compat"))
    assert published["mean"]["unparsable"] == 0
    assert published["datasets"]["VisA"]["defect_classification"] == 100  # all true answers of that type are B


def test_rows_that_do_not_belong_are_named(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "answers.jsonl"
    write_log(root, log, "A", "A")
    first = read_jsonl(log)[0]
    append_jsonl(log, [first, first | {"image": "VisA/x/1.png"}])
    rows = read_jsonl(log)
    rows[1]["answer"] = "D"
    rows[2]["choice"] = "F"
    answers, rejected = read_answers(rows, read_mmad(MMADConfig(data_root=str(root)), check_images=False))
    assert [one.reason for one in rejected] == [
        "true answer differs from mmad.json",
        "answered twice (the first counts)",
        "not in mmad.json, or left out there",
    ]
    assert len(answers) == 46
    assert answers[1].choice is None  # F is no option


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Nothing to score"),
        ({"mllm": "m", "run": "r"}, "give one"),
        ({"answers": "missing.jsonl"}, "Missing file"),
        ({"mode": "guess"}, "Unknown mode"),
        ({"mllm": "m", "shots": -1}, "shots=-1"),
        ({"mllm": "m", "shots": 9}, "No question can be asked"),
    ],
)
def test_bad_requests_are_explained(root: Path, chat: FakeChat, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_mmad(config(root, **values))


def test_a_row_without_a_field_is_named(root: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {})
    append_jsonl(tmp_path / "a.jsonl", [{"image": "x"}])
    with pytest.raises(UserError, match=r"Row 1 of .* has no question, type.*Expected is a row a question.*gpt_answer"):
        evaluate_mmad(config(root, answers=str(tmp_path / "a.jsonl")))


def test_a_server_that_misbehaves_and_dies_loses_nothing(root: Path) -> None:
    """Status 500, 429, an empty reply and no JSON at all; then the server goes, and another one takes its place."""
    accidents = {2: (500, "{}"), 5: (429, "{}"), 8: (200, "{not json")}
    first = Server()

    def behave(number: int, body: dict[str, Any]) -> Any:
        if "Where" in body["messages"][0]["content"][-1]["text"]:
            return ""
        if number == 20:
            threading.Thread(target=first.close).start()
        return accidents.get(number, "A")

    first.behave = behave
    api = {"retries": 1, "backoff": 0.01, "timeout": 5.0, "concurrency": 1, "longest_wait": 0.05}
    asked = config(root, mllm="m", mode="generate", backend=Backend.api, api=ApiConfig(base_url=first.url, **api))
    with pytest.raises(UserError, match="cannot be reached"):
        evaluate_mmad(asked)
    log = root.parent / "out" / "answers.jsonl"
    kept = read_jsonl(log)
    assert 10 < len(kept) < 25 and {row["reply"] for row in kept} == {"A", ""}
    assert not any(row.get("failure") for row in kept)  # each accident passed at the second attempt
    second = Server(port=first.http.server_address[1])  # a model is named by its address
    second.behave = lambda number, body: "" if "Where" in body["messages"][0]["content"][-1]["text"] else "A"
    results = evaluate_mmad(asked)
    second.close()
    assert len(second.bodies) == 47 - len(kept) + results["empty_replies"] - sum(not row["reply"] for row in kept)
    assert (results["answered"], results["empty_replies"], results["failures"]) == (47, 5, {})
    assert results["mean"]["defect_localization"] == 0
