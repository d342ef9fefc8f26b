"""The dependency rule: imports point left (data ← models ← eval ← train ← scripts), one importer a heavy package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["data", "models", "eval", "train", "scripts"]
ONLY_IN = {
    "segment_anything": {"models/sam.py"},
    "swift": {"train/eddm.py", "models/chat_swift.py"},
    "wandb": {"train/tracking.py"},
    "hydra": {"scripts/command.py"},
}
FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_left(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    package = relative.split("/")[0]
    for name in imported(ast.parse(path.read_text())):
        top = name.split(".")[0]
        if top in ORDER:
            assert ORDER.index(top) <= ORDER.index(package), f"{relative} imports {name}"
        if top in ONLY_IN:
            assert relative in ONLY_IN[top], f"{relative} imports {name}"
        assert top != "tests", f"{relative} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_eval_is_never_bound_as_a_name(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "eval" for alias in node.names), "use: from eval.x import y"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
