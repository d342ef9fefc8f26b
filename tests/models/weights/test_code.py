from pathlib import Path

import pytest

from data.doctor.problems import Problem
from models.weights.code import check_code
from models.weights.table import Checkpoint, TrainedPart, checkpoints
from models.weights.trust import hash_code
from tests.models.chat.minicpm_folder import COMMIT, HUB_ID, write_folder  # type: ignore[import-not-found]
from tests.models.weights.marked import write_marked, write_snapshot


def examine(folder: Path, revision: str | None, *, trusted: bool, part: str = "eddm") -> list[Problem]:
    found: list[Problem] = []
    entry: Checkpoint = checkpoints()["minicpm-v-2.6"]
    check_code(folder, entry, TrainedPart(part), revision=revision, trusted=trusted, found=found)
    return found


def test_code_that_is_not_allowed_or_not_pinned_is_not_run(tmp_path: Path) -> None:
    folder = write_marked(tmp_path / "marked", tmp_path / "ran")
    for revision, trusted in ((COMMIT, False), (None, True), ("main", True), ("0" * 64, True)):
        (problem,) = examine(folder, revision, trusted=trusted)
        assert problem.code == "unpinned-code" and "model." in problem.message
    (problem,) = examine(folder, COMMIT, trusted=True, part="mdlm")
    assert problem.code == "unexpected-code"
    assert not (tmp_path / "ran").exists()


def test_code_of_2_6_loads_here_and_broken_code_says_why(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "stub")
    assert examine(folder, hash_code(folder), trusted=True) == []
    path = folder / "modeling_minicpmv.py"
    path.write_text("from transformers import Missing\n" + path.read_text())
    (problem,) = examine(folder, COMMIT, trusted=True)
    assert problem.code == "broken-code" and "ImportError" in problem.message and "Missing" in problem.message


def test_code_that_is_not_as_published_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    published = write_snapshot(tmp_path / "hub", HUB_ID, COMMIT, tmp_path / "ran")
    folder = write_marked(tmp_path / "marked", tmp_path / "ran")
    assert examine(folder, COMMIT, trusted=True) == []
    (published / "helper.py").write_text("name = 'other'\n")
    assert [problem.code for problem in examine(folder, COMMIT, trusted=True)] == ["other-code"]
    assert examine(folder, hash_code(folder), trusted=True) == []
