import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest

from data.errors import UserError
from data.ranks import Ranks
from data.source import DataConfig
from data.training.descriptions import DescribeMode, Manner, load_descriptions
from models.chat.config import GREEDY
from models.chat.protocol import ChatRequest
from models.eddm.describe import DescribeConfig, describe_items, list_items
from models.eddm.eddm import EDDM


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


def run(chat: Counter, folder: Path, log: Path, adapter: str = "a", length: int = 48) -> int:
    eddm = EDDM(chat, ("hole",), model="m", adapter=adapter)
    return describe_items(eddm, list_items(make_config(folder)), Manner(DescribeMode.free, length), log, 2)


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
    run(Counter(), folder, tmp_path / "whole.jsonl")
    assert log.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_another_image_or_adapter_is_described_again(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    run(Counter(), folder, log)
    cv2.imwrite(str(folder / "1.png"), np.full((8, 8, 3), 99, np.uint8))
    assert run(Counter(), folder, log) == 1
    assert run(Counter(), folder, log, adapter="b") == 5
    assert run(Counter(), folder, log, adapter="b", length=256) == 5
    assert all("key" in json.loads(line) for line in log.read_text().splitlines())


def test_another_way_of_decoding_describes_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "x.jsonl"
    run(Counter(), folder, log)
    for setting, value in (("repetition_penalty", 1.05), ("do_sample", True)):
        monkeypatch.setitem(GREEDY, setting, value)
        assert run(Counter(), folder, log) == 5


def test_a_missing_or_empty_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No folder"):
        list_items(make_config(tmp_path / "none"))
    with pytest.raises(UserError, match="No images"):
        list_items(make_config(tmp_path))


def test_images_of_one_size_share_a_batch(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "1.png"), np.zeros((32, 32, 3), np.uint8))
    chat = Counter()
    run(chat, folder, tmp_path / "x.jsonl")
    assert chat.seen == ["0.png", "2.png", "3.png", "4.png", "1.png"]


def test_the_next_images_are_announced(folder: Path, tmp_path: Path) -> None:
    class Foresighted(Counter):
        def expect(self, images: Sequence[Path]) -> None:
            self.seen += [f"next {image.name}" for image in images]

    chat = Foresighted()
    run(chat, folder, tmp_path / "x.jsonl")
    assert chat.seen == ["next 2.png", "next 3.png", "0.png", "1.png", "next 4.png", "2.png", "3.png", "4.png"]


def test_ranks_share_the_images_and_leave_one_log(folder: Path, tmp_path: Path) -> None:
    log, chats = tmp_path / "x.jsonl", [Counter(), Counter()]
    with ThreadPoolExecutor(2) as pool:
        meeting = Meeting()
        work = [pool.submit(describe_on, number, chats[number], folder, log, meeting) for number in range(2)]
        assert [done.result() for done in work] == [5, 5]
    assert sorted(chats[0].seen + chats[1].seen) == [f"{number}.png" for number in range(5)]
    assert {len(chat.seen) for chat in chats} == {2, 3}
    assert len(load_descriptions(log)) == 5
    assert list(tmp_path.glob("*.jsonl")) == [log]
    run(Counter(), folder, tmp_path / "alone.jsonl")
    assert log.read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    assert run(Counter(), folder, log) == 0


def test_what_a_rank_wrote_before_an_interruption_is_kept(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(Counter(calls=1), folder, log)
    log.rename(tmp_path / "x.rank1.jsonl")
    assert run(Counter(), folder, log) == 3
    assert list(tmp_path.glob("*.jsonl")) == [log]
    assert len(load_descriptions(log)) == 5


class Meeting:
    """Where two threads wait for each other, as ranks do, and hand over what the first one made."""

    def __init__(self) -> None:
        self.barrier = Barrier(2)
        self.made: object = None


@dataclass(frozen=True, slots=True)
class Thread(Ranks):
    """A rank that is a thread."""

    meeting: Meeting = field(default_factory=Meeting)

    def wait(self) -> None:
        self.meeting.barrier.wait()

    def broadcast(self, value: Any) -> Any:
        if self.is_main:
            self.meeting.made = value
        self.wait()
        made = self.meeting.made
        self.wait()
        return made


def describe_on(rank: int, chat: Counter, folder: Path, log: Path, meeting: Meeting) -> int:
    eddm = EDDM(chat, ("hole",), model="m", adapter="a")
    items, ranks = list_items(make_config(folder)), Thread(rank, 2, meeting)
    return describe_items(eddm, items, Manner(DescribeMode.free), log, 2, ranks)
