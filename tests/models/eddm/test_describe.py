import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.source import DataConfig
from data.training.descriptions import DescriptionLog, load_descriptions
from models.chat.protocol import ChatRequest
from models.eddm.describe import DescribeConfig, describe_items, list_items
from models.eddm.eddm import EDDM, DescribeMode


class Counter:
    """Counts what it is asked, and is interrupted after some calls."""

    name = "counter"

    def __init__(self, calls: int = 1000) -> None:
        self.seen: list[str] = []
        self.calls = calls

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        self.seen += [request.image.name for request in requests]
        return [f"Text on {request.image.name}." for request in requests]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((8, 8, 3), index, np.uint8))
    return folder


def make_config(folder: Path) -> DescribeConfig:
    return DescribeConfig(preset="tiny", run="r", data=DataConfig(train=[], zero_shot=[]), folder=str(folder))


def run(chat: Counter, folder: Path, log: Path, adapter: str = "a") -> int:
    eddm = EDDM(chat, ("hole",), model="m", adapter=adapter)
    return describe_items(eddm, list_items(make_config(folder)), DescribeMode.free, DescriptionLog(log), 2)


def test_a_finished_log_is_not_written_again(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    assert run(Counter(), folder, log) == 5
    before = log.read_bytes()
    assert run(Counter(), folder, log) == 0
    assert log.read_bytes() == before
    assert load_descriptions(log)["3.png"] == "Text on 3.png."


def test_finished_batches_survive_an_interruption(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(Counter(calls=1), folder, log)
    chat = Counter()
    assert run(chat, folder, log) == 3
    assert chat.seen == ["2.png", "3.png", "4.png"]


def test_another_image_or_adapter_is_described_again(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    run(Counter(), folder, log)
    cv2.imwrite(str(folder / "1.png"), np.full((8, 8, 3), 99, np.uint8))
    assert run(Counter(), folder, log) == 1
    assert run(Counter(), folder, log, adapter="b") == 5
    assert all("key" in json.loads(line) for line in log.read_text().splitlines())


def test_a_missing_or_empty_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No folder"):
        list_items(make_config(tmp_path / "none"))
    with pytest.raises(UserError, match="No images"):
        list_items(make_config(tmp_path))
