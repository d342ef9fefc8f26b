"""A conversation about a photo encodes it once, and the replies are those of a model that encodes it each time."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlavaNextImageProcessor, LlavaNextProcessor

from data.run import SHIPPED
from models.chat.config import ChatConfig
from models.chat.load import load_chat
from models.chat.memory import ImageMemory
from models.chat.protocol import ChatModel, ChatRequest, Turn
from models.chat.vlm import VLM
from models.device import CPU
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from models.weights.trust import admit

TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for p in m.content %}"
    "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
)


@contextmanager
def encodings(model: nn.Module) -> Iterator[list[int]]:
    """One entry a call of the vision tower."""
    calls: list[int] = []
    (tower,) = [module for name, module in model.named_modules() if name.endswith("vision_tower")]
    hook = tower.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA-NeXT with a processor: other features than MiniCPM-V's, several tiles an image."""
    folder = tmp_path_factory.mktemp("llava")
    tokenizer = build_tiny_tokenizer(["user: assistant: Is there a defect? Where is it?"] * 20, 320)
    model = build_tiny_llava(TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, vision_width=16), tokenizer, seed=0)
    model.config.image_grid_pinpoints = [[64, 128], [128, 64], [128, 128]]
    model.save_pretrained(folder)
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_grid_pinpoints=model.config.image_grid_pinpoints,
    )
    processor = LlavaNextProcessor(
        images, tokenizer, patch_size=16, vision_feature_select_strategy="default", chat_template=TEMPLATE
    )
    processor.num_additional_image_tokens = 1
    processor.save_pretrained(folder)
    return folder


def load_local(llava: Path) -> ChatModel:
    return load_chat(str(SHIPPED / "eddm"), ChatConfig())


def load_vlm(llava: Path) -> ChatModel:
    return VLM(admit(SHIPPED / "eddm"), None, CPU, name="shipped")


def load_llava(llava: Path) -> ChatModel:
    return VLM(admit(llava), None, CPU, name="llava")


def forget(chat: Any) -> None:
    (chat.memory if isinstance(chat, VLM) else chat).forget()


@pytest.mark.parametrize("load", [load_local, load_vlm, load_llava])
def test_two_questions_about_a_photo_encode_it_once(
    folder: Path, llava: Path, load: Callable[[Path], Any], tmp_path: Path
) -> None:
    chat = load(llava)
    first = ChatRequest(folder / "0.png", "Is there a defect?", 12)
    with encodings(chat.model) as calls:
        (answer,) = chat.chat([first])
        second = ChatRequest(folder / "0.png", "Where is it?", 12, history=(Turn(first.prompt, answer),))
        replies = chat.chat([second])
        assert len(calls) == 1 and answer and replies[0]
        copy = shutil.copy(folder / "0.png", tmp_path / "same.png")
        assert chat.chat([ChatRequest(copy, second.prompt, 12, history=second.history)]) == replies
        assert len(calls) == 1  # content counts, not the path
        forget(chat)
        assert chat.chat([second]) == replies
        assert len(calls) == 2
        shutil.copy(folder / "1.png", copy)
        chat.chat([ChatRequest(copy, "Is there a defect?", 12)])
        assert len(calls) == 3  # another photo under a known path is another photo


@pytest.mark.parametrize("load", [load_vlm, load_llava])
def test_batches_of_several_photos_are_told_apart(folder: Path, llava: Path, load: Callable[[Path], Any]) -> None:
    chat = load(llava)
    batches = [[0], [1], [0, 1], [1, 0], [0, 0], [0]]
    asked = [[ChatRequest(folder / f"{place}.png", "Where is it?", 8) for place in batch] for batch in batches]
    remembered = [chat.chat(batch) for batch in asked]
    for batch, replies in zip(asked, remembered, strict=True):
        forget(chat)
        assert chat.chat(batch) == replies


def test_the_memory_is_bounded_and_keeps_the_latest(folder: Path) -> None:
    class Model(nn.Module):
        """Encodes by counting."""

        count = 0

        def get_image_features(self) -> int:
            self.count += 1
            return self.count

    model = Model()
    memory = ImageMemory(model, most=2)

    def ask(*places: int) -> int:
        with memory.lent([folder / f"{place}.png" for place in places]):
            return model.get_image_features()

    assert [ask(0), ask(1), ask(0)] == [1, 2, 1]
    assert [ask(2), ask(0), ask(1)] == [3, 1, 4]  # the one that was asked for longest ago had gone
    assert [ask(0, 1, 2), ask(0, 1, 2)] == [5, 6]  # too many to keep
    assert [ask(0, 2), ask(0, 2), ask(2, 0)] == [7, 7, 8]
    assert model.get_image_features() == 9 and "get_image_features" not in vars(model)  # nothing is left behind


def test_a_failed_encoding_is_not_remembered(folder: Path) -> None:
    class Model(nn.Module):
        """Fails once."""

        failed = False

        def get_image_features(self) -> str:
            if not self.failed:
                self.failed = True
                raise torch.OutOfMemoryError
            return "features"

    model = Model()
    memory = ImageMemory(model)
    for expected in (None, "features"):
        try:
            with memory.lent([folder / "0.png"]):
                found = model.get_image_features()
        except torch.OutOfMemoryError:
            found = None
        assert found == expected


def test_a_model_that_encodes_in_its_own_way_runs_as_it_is(folder: Path) -> None:
    model = nn.Linear(1, 1)
    with ImageMemory(model).lent([folder / "0.png"]):
        assert model(torch.ones(1)).shape == (1,)
