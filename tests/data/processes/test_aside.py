"""Files appear whole, with ordinary permissions; what killed writers left goes, what living ones write stays."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.errors import UserError
from data.files import append_jsonl, write_bytes, write_text
from data.processes import aside
from data.processes.aside import share, written_aside

ROOT = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal, sys; from pathlib import Path; from data.files import atomic_open
with atomic_open(Path(sys.argv[1])) as file:
    file.write("half"); file.flush(); print("writing", flush=True); sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond a kilobyte, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_as_a_new_process(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(aside, "_cleared", set())
    write_text(path, "whole")


def test_the_next_run_clears_what_a_killed_one_left_but_nothing_of_the_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "results.json")]
    writer = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    foreign = tmp_path / f".results.json.{'0' * 8}-{writer.pid}-{'a' * 8}.part"
    foreign.touch()
    mine = tmp_path / ".part"
    mine.touch()
    kept = set(tmp_path.iterdir())
    assert len(kept) == 3
    write_as_a_new_process(monkeypatch, tmp_path / "other.json")
    assert set(tmp_path.iterdir()) == kept | {tmp_path / "other.json"}  # the writer lives
    writer.communicate("go on\n")
    assert writer.returncode == -signal.SIGKILL and set(tmp_path.iterdir()) == kept | {tmp_path / "other.json"}
    write_as_a_new_process(monkeypatch, tmp_path / "other.json")
    assert set(tmp_path.iterdir()) == {foreign, mine, tmp_path / "other.json"}


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_weights_get_the_permissions_of_any_other_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "any.json", "{}")
        with written_aside(tmp_path / "weights.safetensors") as temporary:
            save_file({"a": np.zeros(4, np.float32)}, temporary)
        save_file({"a": np.zeros(4, np.float32)}, tmp_path / "folder.safetensors")
        share(tmp_path)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_a_write_that_fails_names_the_file_and_leaves_the_old_one(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "results.json"
    write_text(path, "old")
    for write in (lambda: write_text(path, "x" * 2000), lambda: write_bytes(path, bytes(2000))):
        with pytest.raises(UserError, match=r"Cannot write .*results\.json: the file is larger"):
            write()
    saying = pytest.raises(UserError, match=r"Cannot write .*w\.safetensors: the file is larger")
    with saying, written_aside(tmp_path / "w.safetensors") as temporary:
        save_file({"a": np.zeros(4000, np.float32)}, temporary)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"] and path.read_text() == "old"
    with pytest.raises(UserError, match=r"Cannot write .*log\.jsonl: the file is larger"):
        append_jsonl(tmp_path / "log.jsonl", [{"reply": "x" * 2000}])
