"""One writer: two processes, a killed one, ranks, links, folders whose parent cannot be written."""

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from data.errors import UserError
from data.processes import lock
from data.processes.lock import held, lock_file

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys; from pathlib import Path; from data.processes.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True); sys.stdin.readline()
"""


def start_holder(place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(place)]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    return child


def test_the_second_writer_is_told_who_the_first_is_until_that_one_ends_or_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start_holder(out)
    said = rf"{out} is in use by process {first.pid} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d "
    for _ in range(2):  # a refused writer leaves the first one's name in place
        with pytest.raises(UserError, match=said), held(out):
            raise AssertionError("two writers")
    first.communicate("go on\n")
    with held(out):
        pass
    second = start_holder(out)
    second.kill()
    second.communicate()
    assert lock_file(out).is_file()
    with held(out):
        assert f'"process": {os.getpid()}' in lock_file(out).read_text()
    assert not list(tmp_path.iterdir())


def test_one_process_does_not_hold_a_place_twice_but_a_place_in_it_as_well(tmp_path: Path) -> None:
    with held(tmp_path / "out", tmp_path / "log.jsonl"):
        with held(tmp_path / "out" / "expert"):
            pass
        with pytest.raises(UserError, match=r"log\.jsonl is in use by process"), held(tmp_path / "log.jsonl"):
            pass
        with pytest.raises(UserError), held(tmp_path / "other", tmp_path / "out"):
            pass
        with held(tmp_path / "other"):  # the refused call let go of it
            pass


def test_links_and_relative_paths_name_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    for other in (Path("out"), Path("link"), tmp_path / "link" / ".." / "out", Path("out/.")):
        with held(tmp_path / "out"), pytest.raises(UserError, match="in use"), held(other):
            pass


def test_a_short_wait_lets_the_other_finish(tmp_path: Path) -> None:
    first = start_holder(tmp_path / "counts.json")
    assert first.stdin is not None
    first.stdin.write("go on\n")
    first.stdin.flush()
    with held(tmp_path / "counts.json", wait=60):
        pass
    first.communicate()


def test_a_folder_whose_parent_cannot_be_written_holds_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mount" / "out"
    out.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out.parent)
    with held(out):
        assert [path.name for path in out.iterdir()] == [".lock"]
        with pytest.raises(UserError, match="in use"), held(out):
            pass
    assert not list(out.iterdir())


def test_forked_workers_neither_hold_nor_free_the_lock(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with held(place):
        with ProcessPoolExecutor(1) as pool:
            assert pool.submit(os.getpid).result() != os.getpid()
        with pytest.raises(UserError, match="in use"), held(place):
            pass
    with ProcessPoolExecutor(1) as pool:
        with held(place):
            pool.submit(os.getpid).result()  # forked while it is held
        with held(place):
            pass


def test_one_rank_holds_and_all_hear_why_it_could_not(tmp_path: Path) -> None:
    taken: list[Callable[[], None]] = []
    with held(tmp_path / "out", by=taken.append), held(tmp_path / "out"):  # the first is a rank that does not hold
        pass
    assert len(taken) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, **how: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(lock.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match=r"Cannot write to .*out: Read-only file system"), held(tmp_path / "out"):
        pass


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(self: object, **how: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.FileLock, "acquire", no_locks)
    with caplog.at_level(logging.WARNING), held(tmp_path / "out"):
        pass
    assert "is not locked" in caplog.text
