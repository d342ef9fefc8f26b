from pathlib import Path

import pytest

from data.errors import UserError
from models.chat.swift import SwiftChat, SwiftChatConfig, remote_code


def test_remote_code_is_refused_unless_allowed() -> None:
    loader = pytest.importorskip("swift.model.register").ModelLoader
    before = loader.default_trust_remote_code
    with remote_code(False):
        assert loader.default_trust_remote_code is False
        with remote_code(True):
            assert loader.default_trust_remote_code is True
        assert loader.default_trust_remote_code is False
    assert loader.default_trust_remote_code is before


def test_remote_code_needs_a_pinned_revision(tmp_path: Path) -> None:
    config = SwiftChatConfig(model=str(tmp_path), model_type="m", template="t", trust_remote_code=True)
    with pytest.raises(UserError, match="pinned revision"):
        SwiftChat(config, None, name="x")
