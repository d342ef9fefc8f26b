from __future__ import annotations

from pathlib import Path

import pytest

from eval.judgements.log import JudgementLog


@pytest.fixture
def log(tmp_path: Path) -> JudgementLog:
    return JudgementLog(tmp_path / "log")
