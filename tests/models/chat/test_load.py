from pathlib import Path

import pytest

from data.errors import UserError
from models.chat.config import Backend, ChatConfig, SwiftNames, VLMConfig
from models.chat.load import load_chat
from tests.models.weights.marked import write_marked

NAMES = SwiftNames(model_type="minicpmv2_6", template="minicpmv2_6")


@pytest.mark.parametrize("backend", [Backend.transformers, Backend.swift])
def test_code_that_comes_with_weights_never_runs_unasked(tmp_path: Path, backend: Backend) -> None:
    folder = write_marked(tmp_path / "marked", tmp_path / "ran")
    config = ChatConfig(backend=backend, swift=NAMES, local=VLMConfig(revision="f" * 40))
    with pytest.raises(UserError, match=r"set trust_remote_code=true"):
        load_chat(str(folder), config)
    with pytest.raises(UserError, match=r"pin what you have read with local\.revision="):
        load_chat(str(folder), ChatConfig(backend=backend, swift=NAMES), trust_remote_code=True)
    assert not (tmp_path / "ran").exists()


def test_a_hub_id_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="nothing is downloaded unasked"):
        load_chat("nobody/nothing", ChatConfig())
