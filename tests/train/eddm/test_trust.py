from pathlib import Path

import pytest

from data.errors import UserError
from models.weights.trust import hash_code
from tests.models.weights.marked import write_marked, write_snapshot
from tests.train.eddm.test_config import compose_config
from train.eddm.train import train_eddm

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refuse(match: str, tmp_path: Path, *overrides: str) -> None:
    config = compose_config("preset=paper", f"run_dir={tmp_path / 'run'}", *overrides)
    with pytest.raises(UserError, match=match):
        train_eddm(config)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "run").exists()


def test_code_of_a_folder_needs_a_word_and_a_pin(tmp_path: Path) -> None:
    folder = write_marked(tmp_path / "marked", tmp_path / "ran")
    model, trust = f"model.id={folder}", "model.trust_remote_code=true"
    refuse(r"names code of its own .*set model\.trust_remote_code=true", tmp_path, model)
    refuse(f"pin what you have read with model.revision={hash_code(folder)}", tmp_path, model, trust)
    refuse(r"is not what model\.revision=", tmp_path, model, trust, f"model.revision={'0' * 64}")
    (folder / "helper.py").unlink()
    refuse(r"lacks its code file helper\.py", tmp_path, model, trust, f"model.revision={COMMIT}")


def test_code_of_a_hub_id_needs_a_word_and_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_snapshot(tmp_path / "hub", "a/b", COMMIT, tmp_path / "ran")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    trust = "model.trust_remote_code=true"
    refuse(r"names code of its own .*set model\.trust_remote_code=true", tmp_path, "model.id=a/b")
    refuse("needs a pinned model.revision=<commit>", tmp_path, "model.id=a/b", trust)
    refuse("model.revision=main can move", tmp_path, "model.id=a/b", trust, "model.revision=main")
    refuse("nothing is downloaded unasked", tmp_path, "model.id=a/c")
