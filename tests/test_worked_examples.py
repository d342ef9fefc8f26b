"""The READMEs' worked examples are carried out, file by file and line by line, in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.files import read_jsonl
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["data", "models", "eval", "train", "scripts", "configs"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def apply_diff(root: Path, diff: str) -> None:
    """Carries out a diff block: `--- <file>`, then hunks of kept, removed and added lines, parted by `@@`."""
    head, _, body = diff.partition("\n")
    path = root / head.removeprefix("--- ")
    text = path.read_text(encoding="utf-8")
    for hunk in re.split(r"^@@\n", body, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        assert text.count(old) == 1, f"{path}: these lines must be there once:\n{old}"
        text = text.replace(old, "".join(line[1:] for line in lines if line[0] in " +"))
    path.write_text(text, encoding="utf-8")


def carry_out(page: Path, root: Path) -> None:
    """Writes every file, names it in its room's door, and applies every diff of a page."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "diff":
            apply_diff(root, block)
        elif language in ("python", "yaml") and (path := re.search(r"\A(?:# @.*\n)?# (\w+/\S+\.\w+)$", block, re.M)):
            (root / path[1]).write_text(block, encoding="utf-8")
            door = (root / path[1]).parent / "__init__.py"
            if language == "python" and "Public modules: `" in (text := door.read_text(encoding="utf-8")):
                named = text.replace("Public modules: ", f"Public modules: `{Path(path[1]).stem}`, ")
                door.write_text(named, encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after everything that its pages say about adding things."""
    root = tmp_path_factory.mktemp("project")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for package in PACKAGES[:-1]:
        carry_out(ROOT / package / "README.md", root)
    return root


def file_of(page: Path, name: str) -> str:
    """The text of a file that a page tells its reader to write, by its last name."""
    blocks = [block for language, block in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]
    (found,) = [block for block in blocks if re.match(rf"# (\w+/)*{re.escape(name)}\n", block)]
    return found


@pytest.fixture
def run_own(tmp_path: Path) -> Callable[..., str]:
    """Runs a command of this very project, with a folder of the user's own on PYTHONPATH; returns what it prints."""

    def run_command(*arguments: str) -> str:
        own = {**os.environ, "PYTHONPATH": str(tmp_path / "own")}
        words = [sys.executable, "-m", *arguments]
        done = subprocess.run(words, cwd=ROOT, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_command


def save_own(tmp_path: Path, room: str, name: str) -> None:
    """Saves the example of a room's page in a folder of the user's own."""
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own" / name).write_text(file_of(ROOT / room / "README.md", name), encoding="utf-8")


@pytest.fixture
def run(project: Path) -> Callable[..., str]:
    """Runs a Python command in the copy; returns what it prints."""

    def run_python(*arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_python


def test_the_examples_keep_the_rules_of_the_house(project: Path) -> None:
    """Doors, arrows and sizes: the imports' test itself, on the copy."""
    (project / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_imports.py", project / "tests")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_imports.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--ignore", "E501", "."]
    checked = subprocess.run(ruff, cwd=project, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def write_bolts(root: Path) -> None:
    for index, name in enumerate(("pass/a.png", "pass/b.png", "fail/c.png", "masks/c.png")):
        path = root / "bolt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 8, 3), 100 + index, np.uint8))


def test_a_reader_of_ones_own(tmp_path: Path, run_own: Callable[..., str]) -> None:
    save_own(tmp_path, "data", "pass_fail.py")
    write_bolts(tmp_path / "products")
    said = run_own("scripts.doctor", f"data={tmp_path / 'products'}", "reader=pass_fail:read_pass_fail", "json=true")
    (row,) = json.loads(said)["data"]["counts"]
    assert (row["category"], row["normal"], row["anomalous"]) == ("bolt", 2, 1)


def test_a_reader_and_a_command(tmp_path: Path, run: Callable[..., str]) -> None:
    write_bolts(tmp_path)
    counted = run("-m", "scripts.count_samples", "dataset=pass_fail", f"data_root={tmp_path}")
    assert counted == "3\n"


def test_a_chat_back_end_of_ones_own(tmp_path: Path, run_own: Callable[..., str]) -> None:
    save_own(tmp_path, "models", "constant.py")
    write_mmad(tmp_path / "mmad")
    words = ["mllm=A", "backend=constant:ConstantChat", "mode=generate", f"out={tmp_path / 'out'}"]
    run_own("scripts.eval_mmad", f"data_root={tmp_path / 'mmad'}", *words)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["model"].startswith("constant A (constant:ConstantChat@")
    assert results["answered"] == results["questions"] > 0
    assert {row["reply"] for row in read_jsonl(tmp_path / "out" / "answers.jsonl")} == {"A"}


@pytest.mark.slow
def test_an_expert_of_ones_own(tmp_path: Path, run_own: Callable[..., str]) -> None:
    save_own(tmp_path, "models", "colour.py")
    rng = np.random.default_rng(0)
    for index in range(24):
        path = tmp_path / "parts" / ("bad" if index < 2 else "good") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(60, 120, (32, 32, 3), dtype=np.uint8)
        image[8:16, 8:16] = 255 if index < 2 else image[8:16, 8:16]
        cv2.imwrite(str(path), image)
    fit, out = tmp_path / "fit", tmp_path / "out"
    said = run_own("scripts.fit_expert", "expert=colour:ColourExpert", f"images={tmp_path / 'parts'}", f"out={fit}")
    assert f"expert=colour:ColourExpert expert_dir={fit}" in said
    words = ["expert=colour:ColourExpert", f"expert_dir={fit}", f"images={tmp_path / 'parts' / 'bad'}", f"out={out}"]
    run_own("scripts.inspect", *words)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["defect", "defect"]


@pytest.mark.slow
def test_an_expert_of_ones_own_and_a_metric(
    tmp_path: Path, write_mvtec: Callable[..., Path], run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_own(tmp_path, "models", "colour.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    data = [f"data_root={write_mvtec(normals=6)}", "dataset=mvtec_ad", "expert=colour:ColourExpert"]
    run("-m", "scripts.fit_expert", *data, f"out={tmp_path / 'fit'}")
    run("-m", "scripts.eval_expert", *data, f"expert_dir={tmp_path / 'fit'}", f"out={tmp_path / 'out'}")
    figures = json.loads((tmp_path / "out" / "expert.json").read_text())
    assert figures["mean"]["pixel_auroc"] > 99  # the defects are white squares
    assert figures["mean"]["image_fpr95"] == 0
