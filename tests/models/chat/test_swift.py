import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.errors import UserError
from data.sample import load_image
from models.chat.letters import read_letters
from models.chat.load import load_scorer
from models.chat.protocol import ChatRequest, Turn
from models.chat.reuse import ReuseScorer
from models.chat.swift import SwiftChat, SwiftChatConfig, _ask, check_swift, remote_code
from models.weights.trust import admit
from tests.models.chat.minicpm_folder import COMMIT, POSITION, write_folder  # type: ignore[import-not-found]


def load(folder: Path, torch_dtype: str = "float32") -> SwiftChat:
    """The tiny folder with MiniCPM-V 2.6's faults, through ms-swift."""
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    config = SwiftChatConfig(
        model=admit(folder, revision=COMMIT, trusted=True),
        model_type="minicpmv2_6",
        template="minicpmv2_6",
        torch_dtype=torch_dtype,
        device_map="cpu",
    )
    return SwiftChat(config, None, name="stub")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels // (seed + 1))
    return [folder / f"{seed}.png" for seed in range(2)]


def test_remote_code_is_refused_unless_allowed() -> None:
    loader = pytest.importorskip("swift.model.register").ModelLoader
    before = loader.default_trust_remote_code
    with remote_code(False):
        assert loader.default_trust_remote_code is False
        with remote_code(True):
            assert loader.default_trust_remote_code is True
        assert loader.default_trust_remote_code is False
    assert loader.default_trust_remote_code is before


def test_code_of_a_repository_is_not_cloned_even_where_code_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    utils = pytest.importorskip("swift.utils")
    started: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda command, **kwargs: started.append(command))
    for trusted in (False, True):
        with remote_code(trusted), pytest.raises(UserError, match=r"ms-swift would run 'git .* clone .*nothing pins"):
            utils.git_clone_github("https://example.org/owner/code-that-nobody-has-cloned")
    assert started == []


def test_greedy_replies_are_free_of_the_checkpoints_own_penalty(
    tmp_path: Path, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    replies = []
    for penalty in (1.0, 50.0):
        folder = write_folder(tmp_path / f"penalty_{penalty:.0f}")
        path = folder / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": penalty}))
        with caplog.at_level(logging.INFO):
            chat = load(folder)
        assert bool((chat.engine.model.resampler.pos_embed == POSITION).all())
        replies += chat.chat([ChatRequest(images[0], "Where is it?", 12)])
    assert replies[0] == replies[1] != ""
    said = [record.getMessage() for record in caplog.records if "repetition_penalty" in record.getMessage()]
    assert len(said) == 1 and "penalty_50" in said[0] and "instead of the checkpoint's own 50" in said[0]


@pytest.mark.parametrize(("steps", "reuses"), [(1, True), (6, False)])
def test_rounding_is_no_reason_to_run_each_question_whole(
    tmp_path: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch, steps: int, reuses: bool
) -> None:
    chat = load(write_folder(tmp_path / f"coarse_{steps}"), torch_dtype="bfloat16")
    chat.model.llm.lm_head.weight.data *= 300  # logits as large as those of a trained model
    scorer = load_scorer(chat)
    assert isinstance(scorer, ReuseScorer)
    letters = [token for letter in scorer.letters for token in letter]

    def rounded(batch: list[ChatRequest]) -> list[torch.Tensor]:
        rows = chat.predict_next(batch)
        return [row + steps * torch.finfo(torch.bfloat16).eps * row[letters].abs().max() for row in rows]

    monkeypatch.setattr(scorer, "_continue", rounded)
    scorer.score([ChatRequest(images[0], text) for text in QUESTIONS], COUNTS)
    assert scorer.reuses is reuses


QUESTIONS = ("Is there any defect?\nA. Yes.\nB. No.\n", "What kind?\nA. a scratch\nB. a hole\nC. a dent\n", "A or B?")
COUNTS = [2, 3, 2]


@pytest.mark.parametrize("before", [(), ("Normal:", 1, "Query:")])
def test_letters_are_scored_from_one_run_of_the_image(
    tmp_path: Path, images: list[Path], before: tuple[str | int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = load(write_folder(tmp_path / f"scored_{len(before)}"))
    scorer = load_scorer(chat)
    earlier = tuple(images[part] if isinstance(part, int) else part for part in before)
    requests = [ChatRequest(image, text, before=earlier) for image in images for text in QUESTIONS]
    scores = scorer.score(requests, COUNTS * len(images))
    assert isinstance(scorer, ReuseScorer) and scorer.reuses is True
    alone = [read_letters(chat.predict_next([one])[0], scorer.letters, 3) for one in requests]
    together = [read_letters(row, scorer.letters, 3) for row in chat.predict_next(requests)]
    for found, single, padded in zip(scores, alone, together, strict=True):
        assert found == pytest.approx(single[: len(found)], abs=1e-4)
        assert padded == pytest.approx(single, abs=1e-4)
    assert len({round(row[0], 5) for row in scores}) == len(scores)  # images and questions matter
    monkeypatch.setattr(chat, "predict_next", None)
    scorer.score(requests, COUNTS * len(images))  # no prompt ran whole any more


def test_ms_swift_gets_a_turned_photo_upright_and_16_bits_as_8(tmp_path: Path) -> None:
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    from swift.template.vision_utils import load_image as swift_load

    pixels, exif = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8), Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    for name in ("turned.jpg", "deep.png", "plain.png"):
        (picture,) = _ask(ChatRequest(tmp_path / name, "Q?", 4)).images
        np.testing.assert_array_equal(np.asarray(swift_load(picture)), load_image(tmp_path / name))
        assert isinstance(picture, str) == (name == "plain.png")


def test_ms_swift_gets_earlier_turns_with_the_images_in_the_first(images: list[Path]) -> None:
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    request = ChatRequest(images[0], "Where?", before=("Normal:", images[1]), history=(Turn("A defect?", "Yes."),))
    asked = _ask(request)
    assert asked.messages == [
        {"role": "user", "content": "Normal:\n<image><image>A defect?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Where?"},
    ]
    assert asked.images == [str(images[1]), str(images[0])]
    assert "<image>" not in str(_ask(request, images=False).messages)


def test_what_the_installed_libraries_do_not_know_is_named(tmp_path: Path) -> None:
    pytest.importorskip("swift", reason="ms-swift is not installed: pip install -r requirements.txt")
    (tmp_path / "config.json").write_text('{"model_type": "minicpmv4_6"}')
    check_swift(tmp_path, "minicpmv4_6", "minicpmv4_6")
    with pytest.raises(UserError, match=r"ms-swift \d.* knows no model_type=minicpmv4_9; similar: .*minicpmv4"):
        check_swift(tmp_path, "minicpmv4_9", "minicpmv4_6")
    with pytest.raises(UserError, match="knows no template=###; similar: none"):
        check_swift(tmp_path, "minicpmv4_6", "###")
