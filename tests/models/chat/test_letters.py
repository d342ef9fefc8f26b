"""Packed questions give the logits of one question at a time; the cache of templates is reused."""

import shutil
import string
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from data.errors import UserError
from data.run import SHIPPED
from data.sample import load_image
from models.chat.config import Backend, ChatConfig, SwiftNames, VLMConfig
from models.chat.letters import (
    PackedScorer,
    block_mask,
    can_pack,
    common_length,
    group_by_image,
    letter_tokens,
    read_letters,
)
from models.chat.load import load_chat, load_scorer
from models.chat.local import TransformersChat, split_patches
from models.chat.protocol import ChatRequest, Turn
from models.chat.reuse import ReuseScorer
from models.chat.vlm import VLM
from models.device import CPU
from models.weights.trust import admit

QUESTIONS = (
    "Is there any defect?\nA. Yes.\nB. No.\n",
    "What kind of defect is it?\nA. scratch\nB. hole\nC. dent\nD. stain\n",
    "Where?\nA. top\nB. bottom\nC. left\n",
)
COUNTS = [2, 4, 3]


@pytest.fixture(scope="module")
def chat(folder: Path) -> TransformersChat:
    loaded = load_chat(str(folder), ChatConfig())
    assert isinstance(loaded, TransformersChat)
    return loaded


def test_replies_are_free_of_the_checkpoints_own_penalty(folder: Path, chat: TransformersChat) -> None:
    requests = ask(folder, 0)
    for model in (chat, VLM(admit(folder), None, CPU, name="tiny")):
        expected = model.chat(requests)
        model.model.generation_config.repetition_penalty = 50.0
        assert model.chat(requests) == expected
        model.model.generation_config.repetition_penalty = 1.0


def ask(folder: Path, image: int, *templates: int) -> list[ChatRequest]:
    before = ("Normal:", *(folder / f"{index}.png" for index in templates), "Query:") if templates else ()
    return [ChatRequest(folder / f"{image}.png", text, 4, before) for text in QUESTIONS]


def one_by_one(chat: TransformersChat, requests: list[ChatRequest]) -> list[list[float]]:
    """The stock model on each whole prompt, images and all."""
    counts = COUNTS * len(requests)
    return [score_alone(chat, request, count) for request, count in zip(requests, counts, strict=False)]


@torch.inference_mode()
def score_alone(chat: TransformersChat, request: ChatRequest, count: int) -> list[float]:
    text = chat.processor.apply_chat_template(request.mark(), tokenize=False, add_generation_prompt=True)
    images = [cv2.imread(str(path))[..., ::-1].copy() for path in request.images]
    logits = chat.model(**chat.processor(text=[text], images=images, return_tensors="pt")).logits[0, -1]
    return read_letters(logits, letter_tokens(chat.processor.tokenizer), count)


def ask_again(folder: Path) -> list[ChatRequest]:
    """Questions about one image after different histories, one of them with templates before the image."""
    (first, second, third), (after_template, *_) = ask(folder, 0), ask(folder, 0, 3)
    one, two = Turn(QUESTIONS[1], "A. scratch"), Turn("Is it large?", "No.")
    histories = [(first, ()), (second, (one,)), (third, (one, two)), (third, (two,)), (after_template, (two,))]
    return [replace(request, history=history) for request, history in histories]


@pytest.mark.parametrize("packed", [True, False])
def test_questions_after_different_histories_are_scored_as_one_at_a_time(
    folder: Path, chat: TransformersChat, packed: bool
) -> None:
    scorer = PackedScorer(chat) if packed else ReuseScorer(VLM(admit(folder), None, CPU, name="tiny"))
    counts = [2, 4, 3, 3, 2]
    found = scorer.score(ask_again(folder), counts)
    expected = [score_alone(chat, request, count) for request, count in zip(ask_again(folder), counts, strict=True)]
    assert_close(found, expected)
    assert found[2] != pytest.approx(found[3], abs=1e-3)  # what was said before matters


def test_all_ways_to_chat_reply_alike_after_different_histories(folder: Path) -> None:
    requests = ask_again(folder)
    shipped = str(SHIPPED / "eddm")  # whose replies are words
    chat = load_chat(shipped, ChatConfig())
    alone = [chat.chat([request])[0] for request in requests]
    assert all(alone) and chat.chat(requests) == alone
    assert VLM(admit(shipped), None, CPU, name="shipped").chat(requests) == alone
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    names = SwiftNames(model_type="minicpmv4_6", template="minicpmv4_6")
    swift = load_chat(shipped, ChatConfig(backend=Backend.swift, swift=names))
    assert swift.chat(requests[:-1]) == alone[:-1]  # ms-swift puts templates on lines of their own


def assert_close(found: list[list[float]], expected: list[list[float]]) -> None:
    assert [len(row) for row in found] == [len(row) for row in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)
        assert np.argmax(one) == np.argmax(other)


@pytest.mark.parametrize("templates", [(), (3,), (2, 3)])
def test_packed_questions_equal_one_at_a_time(folder: Path, chat: TransformersChat, templates: tuple[int, ...]) -> None:
    requests = ask(folder, 0, *templates) + ask(folder, 1, *templates)
    assert_close(PackedScorer(chat).score(requests, COUNTS * 2), one_by_one(chat, requests))


def test_images_of_different_lengths_share_a_batch(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [ask(folder, 0, 2, 3), ask(folder, 1)[:2], ask(folder, 2, 3)[:1], ask(folder, 3)]
    requests = [request for part in parts for request in part]
    counts = [count for part in parts for count in COUNTS[: len(part)]]
    expected = [row for part in parts for row in one_by_one(chat, part)]
    batches: list[int] = []
    run = PackedScorer._ask
    monkeypatch.setattr(PackedScorer, "_ask", lambda self, batch: (batches.append(len(batch)), run(self, batch))[1])
    assert_close(PackedScorer(chat).score(requests, counts), expected)
    assert batches == [4]
    monkeypatch.setattr("models.chat.letters.TOKENS_AT_ONCE", 200)
    assert_close(PackedScorer(chat).score(requests, counts), expected)
    assert len(batches) > 2


def test_the_cache_survives_other_images_templates_and_repeats(folder: Path, chat: TransformersChat) -> None:
    scorer = PackedScorer(chat)
    for image, templates in [(0, (3,)), (1, (3,)), (1, (3,)), (1, ()), (0, (2, 3))]:
        requests = ask(folder, image, *templates)
        assert_close(scorer.score(requests, COUNTS), one_by_one(chat, requests))


def test_a_shared_template_and_image_run_once(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = PackedScorer(chat)
    fed: list[int] = []
    run = scorer._forward
    monkeypatch.setattr(
        scorer,
        "_forward",
        lambda **inputs: (
            (fed.append(inputs["inputs_embeds"].shape[:2].numel()) if "inputs_embeds" in inputs else None)
            or run(**inputs)
        ),
    )
    for image in (0, 1, 1):
        scorer.score(ask(folder, image, 3), COUNTS)
    assert len(fed) == 2  # nothing for the same image again
    assert fed[1] < fed[0] / 1.5  # the template is not run for the second image
    fed.clear()
    monkeypatch.setattr("models.chat.letters.WORTH_A_PASS", 8)
    scorer.score(ask(folder, 0, 2) + ask(folder, 1, 2) + ask(folder, 3, 2), COUNTS * 3)
    assert len(fed) == 2 and fed[1] < 3 * fed[0]  # the new template once, then the three images together
    fed.clear()
    scorer.score(ask(folder, 3, 2) + ask(folder, 0, 2), COUNTS * 2)
    assert not fed  # of two images seen before, in another order, nothing is run again


def test_a_known_image_does_not_stand_in_for_a_new_one_of_its_batch(folder: Path, chat: TransformersChat) -> None:
    scorer = PackedScorer(chat)
    scorer.score(ask(folder, 0, 3), COUNTS)
    requests = ask(folder, 0, 3) + ask(folder, 1, 3)  # the cache holds all of the first, the second's template alone
    assert_close(scorer.score(requests, COUNTS * 2), one_by_one(chat, requests))


def test_an_interrupted_image_does_not_spoil_the_next(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = PackedScorer(chat)
    with monkeypatch.context() as patch:
        patch.setattr(scorer, "_ask", lambda tails: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            scorer.score(ask(folder, 0, 3), COUNTS)
    requests = ask(folder, 1, 3)
    assert_close(scorer.score(requests, COUNTS), one_by_one(chat, requests))


def test_images_are_opened_while_others_are_asked_about(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, bool]] = []

    def open_image(path: Path) -> Any:
        opened.append((path.name, threading.current_thread() is threading.main_thread()))
        return load_image(path)

    monkeypatch.setattr("models.chat.local.load_image", open_image)
    chat.forget()
    scorer = PackedScorer(chat)
    expected = scorer.score(ask(folder, 0) + ask(folder, 1), COUNTS * 2)
    assert opened == [("0.png", True), ("1.png", True)]
    opened.clear()
    chat.forget()
    scorer.expect([folder / "0.png"])
    scorer.expect([folder / "1.png"])
    assert_close(scorer.score(ask(folder, 0) + ask(folder, 1), COUNTS * 2), expected)
    assert opened == [("0.png", False), ("1.png", False)]
    scorer.expect([folder / "0.png"])  # known
    assert len(opened) == 2


def test_one_question_alone_can_be_scored(folder: Path, chat: TransformersChat) -> None:
    requests = ask(folder, 2)[:1]
    assert_close(PackedScorer(chat).score(requests, COUNTS[:1]), one_by_one(chat, requests))


def test_any_model_continues_from_its_own_cache(folder: Path, chat: TransformersChat) -> None:
    scorer = load_scorer(VLM(admit(folder), None, CPU, name="tiny"))
    assert isinstance(scorer, ReuseScorer)
    for templates in [(), (3,)]:
        requests = ask(folder, 0, *templates) + ask(folder, 1, *templates)
        assert_close(scorer.score(requests, COUNTS * 2), one_by_one(chat, requests))
    assert scorer.reuses is True


def test_questions_about_an_image_continue_together(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VLM(admit(folder), None, CPU, name="tiny", batch_size=2)
    scorer = ReuseScorer(model)
    scorer.reuses = True
    shapes: list[tuple[int, ...]] = []
    run = model.model.forward

    def forward(*arguments: Any, **inputs: Any) -> Any:
        shapes.append(tuple(inputs["input_ids"].shape))
        return run(*arguments, **inputs)

    monkeypatch.setattr(model.model, "forward", forward)
    requests = ask(folder, 0) + ask(folder, 1)
    found = scorer.score(requests, COUNTS * 2)
    assert [shape[0] for shape in shapes] == [1, 2, 1, 1, 2, 1]  # an image, then its three questions by two
    assert_close(found, one_by_one(chat, requests))


@pytest.mark.parametrize("tolerance", [0.05, -1.0])
def test_ms_swift_scores_as_the_stock_model_does(folder: Path, chat: TransformersChat, tolerance: float) -> None:
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    names = SwiftNames(model_type="minicpmv4_6", template="minicpmv4_6")
    swift = load_chat(str(folder), ChatConfig(backend=Backend.swift, swift=names, local=VLMConfig(batch_size=4)))
    scorer = load_scorer(swift)
    assert isinstance(scorer, ReuseScorer)
    scorer.tolerance = tolerance  # -1: nothing continues from a cache
    requests = ask(folder, 0) + ask(folder, 1)  # ms-swift puts templates on lines of their own
    assert_close(scorer.score(requests, COUNTS * 2), one_by_one(chat, requests))
    assert scorer.reuses is (tolerance > 0)


def test_a_model_whose_cache_misleads_runs_whole_prompts(
    folder: Path, chat: TransformersChat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = ReuseScorer(VLM(admit(folder), None, CPU, name="tiny"))
    wrong = torch.arange(4096.0)
    monkeypatch.setattr(scorer, "_continue", lambda batch: [wrong for _ in batch])
    requests = ask(folder, 0)
    assert_close(scorer.score(requests, COUNTS), one_by_one(chat, requests))
    assert scorer.reuses is False
    assert "runs whole" in caplog.text


@pytest.mark.parametrize("outcome", [RuntimeError("no cache"), None])
def test_a_model_that_cannot_continue_runs_whole_prompts(
    folder: Path,
    chat: TransformersChat,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    outcome: Exception | None,
) -> None:
    scorer = ReuseScorer(VLM(admit(folder), None, CPU, name="tiny"))

    def fail(batch: Sequence[ChatRequest]) -> None:
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(scorer, "_continue", fail)
    requests = ask(folder, 0)
    assert_close(scorer.score(requests, COUNTS), one_by_one(chat, requests))
    assert scorer.reuses is False
    assert caplog.text.count("each question runs whole") == 1


def test_letters_are_single_tokens_alone_and_after_a_space() -> None:
    class Tokenizer:
        """Begins every text with a special token unless told otherwise, and knows a space before A alone."""

        unk_token_id = 0

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            known = {letter: [number] for number, letter in enumerate(string.ascii_uppercase, 10)} | {" A": [50]}
            return {"input_ids": [1] * add_special_tokens + known.get(text, [0])}

    assert letter_tokens(Tokenizer()) == [[10, 50], *([number] for number in range(11, 36))]


def test_both_ways_to_chat_reply_alike(folder: Path, chat: TransformersChat) -> None:
    requests = ask(folder, 0, 3) + ask(folder, 1)
    assert VLM(admit(folder), None, CPU, name="tiny", batch_size=1).chat(requests) == chat.chat(requests)


def test_block_mask_shows_the_prefix_and_the_own_past() -> None:
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert block_mask([2], [[2, 1]])[0].int().tolist() == expected
    shorter = [[1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]  # padded; no row sees nothing, which would be NaN
    assert block_mask([2, 1], [[2, 1], [1]]).int().tolist() == [expected, shorter]


def test_neighbours_of_one_image_form_a_group(folder: Path) -> None:
    requests = [*ask(folder, 0), *ask(folder, 1), *ask(folder, 1, 3)]
    assert group_by_image(requests) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert common_length(["abcd", "abxd"]) == 2


def test_windowed_and_recurrent_layers_are_not_packed() -> None:
    class Config:
        layer_types = ("full_attention", "linear_attention")

    assert not can_pack(Config())


def test_a_prompt_with_an_image_mark_is_refused(folder: Path, chat: TransformersChat) -> None:
    with pytest.raises(UserError, match="stands for images"):
        PackedScorer(chat).score([ChatRequest(folder / "0.png", "<|image_pad|> A or B?")], [2])
    history = (Turn("What is <|image_pad|>?", "A scratch."),)
    for model in (chat, VLM(admit(folder), None, CPU, name="tiny")):
        with pytest.raises(UserError, match="stands for images"):
            model.chat([ChatRequest(folder / "0.png", "Where?", history=history)])


def test_likelihood_needs_logits() -> None:
    class Remote:
        name = "remote"

    with pytest.raises(UserError, match="mode=generate"):
        load_scorer(Remote())  # type: ignore[arg-type]


def test_images_are_split_by_patches_but_never_within(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.chat.local.PATCHES_AT_ONCE", 6)
    sizes = torch.tensor([[1, 2], [2, 2], [1, 1], [3, 3], [1, 1]])
    values = torch.arange(17 * 2).expand(1, 3, 2, 34)
    parts = list(split_patches(values, sizes))
    assert [(start, part.shape[-1], len(some)) for start, part, some in parts] == [
        (0, 12, 2),
        (2, 2, 1),
        (3, 18, 1),
        (4, 2, 1),
    ]
    assert torch.equal(torch.cat([part for _, part, _ in parts], -1), values)


def test_recurrent_layers_continue_together_too(folder: Path, tmp_path: Path) -> None:
    """As MiniCPM-V 4.6's own: their states must be those before the padding."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = AutoConfig.from_pretrained(folder).to_dict()
    kept = ("hidden_size", "intermediate_size", "vocab_size", "eos_token_id", "pad_token_id", "tie_word_embeddings")
    config["text_config"] = {name: config["text_config"][name] for name in kept} | {
        **{"model_type": "qwen3_5_text", "num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"]},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "linear_num_value_heads": 2},
        **{"linear_num_key_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16},
    }
    torch.manual_seed(0)
    model: Any = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**config))
    model.save_pretrained(tmp_path)
    chat = VLM(admit(tmp_path), None, CPU, name="recurrent")
    scorer = ReuseScorer(chat)
    requests = ask(tmp_path, 0) + ask(tmp_path, 1)
    found = scorer.score(requests, COUNTS * 2)
    assert scorer.reuses is True
    with torch.inference_mode():
        whole = [chat.predict_next([request])[0] for request in requests]
    expected = [read_letters(row, scorer.letters, count) for row, count in zip(whole, COUNTS * 2, strict=True)]
    assert_close(found, expected)
    assert len({round(row[0], 4) for row in found}) == len(found)  # images and questions matter
