from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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


@pytest.mark.parametrize("backend", [Backend.transformers, Backend.swift])
def test_a_checkpoint_of_newer_libraries_names_the_version_that_is_needed(tmp_path: Path, backend: Backend) -> None:
    pytest.importorskip("swift")
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "minicpmv9", "transformers_version": "99.1"}')
    with pytest.raises(UserError, match=r"the installed transformers \d.* does not know; it was written by 99\.1"):
        load_chat(str(tmp_path), ChatConfig(backend=backend, swift=NAMES))


def test_a_hub_id_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="nothing is downloaded unasked"):
        load_chat("nobody/nothing", ChatConfig())
