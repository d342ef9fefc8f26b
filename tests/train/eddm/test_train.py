from pathlib import Path

import pytest
import torch

from data.errors import UserError
from tests.train.eddm.test_watch import configure  # type: ignore[import-not-found]
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
