"""A merged EDDM behind `swift deploy`, on loopback, asked through our client."""

from pathlib import Path

import pytest

from data.run import Run
from models.chat.api import ApiChat
from models.chat.config import ApiConfig
from models.chat.protocol import ChatRequest
from models.eddm.eddm import load_eddm
from tests.models.chat.swift_server import serve
from train.export.config import ExportConfig
from train.export.eddm import write_eddm
from train.export.probe import write_images


@pytest.mark.slow
def test_a_merged_export_serves_the_runs_own_answers(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = ExportConfig(run=str(run.path), out=str(tmp_path / "out"), merge=True)
    write_eddm(run, tmp_path / "out" / "eddm", config)
    # The model is untrained: to other questions it may reply with characters that a server strips.
    requests = [ChatRequest(path, "Is there any defect in this image?", 8) for path in write_images(tmp_path)]
    expected = load_eddm(run).chat.chat(requests)
    with serve(tmp_path / "out" / "eddm" / "model", "eddm") as url:
        replies = ApiChat("eddm", ApiConfig(base_url=url, concurrency=1, retries=1)).chat(requests)
    assert replies == expected
    assert load_eddm(run, use_adapter=False).chat.chat(requests) != expected
