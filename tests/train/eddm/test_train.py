import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from data.errors import UserError
from tests.train.eddm.test_watch import configure  # type: ignore[import-not-found]
from train.eddm import train
from train.eddm.train import train_eddm
from train.engine import ranks


def test_ranks_give_up_after_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that hangs must not burn a node for hours; where one rank works alone, `ranks.patient` waits longer."""
    waits: list[float] = []
    monkeypatch.setattr(ranks, "meet", lambda timeout, **how: waits.append(timeout))
    with pytest.raises(UserError, match=r"train\.jsonl"):
        train_eddm(configure(tmp_path / "run"))
    assert waits == [600.0]


def test_a_gpu_that_is_not_there_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"torch sees none here.*set optim\.use_cpu=true"):
        train_eddm(configure(tmp_path / "run", "optim.use_cpu=false"))


def test_the_questions_of_several_files_are_trained_on_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, text: str) -> Path:
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
        messages = [{"role": "user", "content": f"<image>{text}"}, {"role": "assistant", "content": "A"}]
        row = {"messages": messages, "images": [str(tmp_path / f"{name}.png")], "category": name}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        return tmp_path / f"{name}.jsonl"

    class Seen(Exception):  # noqa: N818
        pass

    def see(config: Any, rows: list[dict[str, Any]], base: Any) -> None:
        raise Seen([row["category"] for row in rows])

    monkeypatch.setattr(train, "identify", see)
    files = f"questions=[{write('gear', 'Is it fine?')},{write('nut', 'Is it?')}]"
    with pytest.raises(Seen, match=r"\['gear', 'nut'\]"):
        train_eddm(configure(tmp_path / "run", files))
    with pytest.raises(UserError, match=r"No questions are left of .*gear\.jsonl, .*nut\.jsonl without hold_out"):
        train_eddm(configure(tmp_path / "run", files, "hold_out=[gear,nut]"))
    (tmp_path / "nut.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"nut\.jsonl, line 1"):
        train_eddm(configure(tmp_path / "run", files))
