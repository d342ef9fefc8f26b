import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import data.content as content
from data.content import Memory, cache_folder, hash_files, hash_samples
from data.errors import UserError
from data.files import hash_file
from data.masks import MaskFile, Polygons
from data.sample import Sample


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written by a test are older than the clock's tick."""
    monkeypatch.setattr(content, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache" / "content.sqlite")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths of the files that are really read."""
    seen: list[Path] = []

    def read(path: Path) -> str:
        seen.append(path)
        return hash_file(path)

    monkeypatch.setattr(content, "hash_file", read)
    return seen


def write(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:03d}.png" for number in range(count)]
    for path in paths:
        path.write_bytes(path.name.encode() * 100)
    return paths


def test_unchanged_files_are_read_once(tmp_path: Path, memory: Memory, reads: list[Path]) -> None:
    paths = write(tmp_path, 1200)
    first = hash_files(paths, memory=memory)
    assert first == {path: hash_file(path) for path in paths}
    assert len(reads) == 1200
    assert hash_files(reversed(paths), memory=Memory(memory.path)) == first
    assert len(reads) == 1200


def test_a_path_counts_wherever_it_is_spelled_from(
    tmp_path: Path, memory: Memory, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write(tmp_path, 1)
    hash_files([path], memory=memory)
    monkeypatch.chdir(tmp_path)
    assert list(hash_files([Path("000.png")], memory=memory)) == [Path("000.png")]
    assert reads == [path]


def test_changes_are_noticed_that_size_and_time_do_not_show(tmp_path: Path, memory: Memory, reads: list[Path]) -> None:
    overwritten, swapped, kept = write(tmp_path, 3)
    before = hash_files([overwritten, swapped, kept], memory=memory)
    times = {path: path.stat() for path in (overwritten, swapped)}
    overwritten.write_bytes(b"x" * times[overwritten].st_size)
    other = tmp_path / "other"
    other.write_bytes(b"y" * times[swapped].st_size)
    other.replace(swapped)
    for path, stat in times.items():
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = hash_files([overwritten, swapped, kept], memory=memory)
    assert {path for path in after if after[path] != before[path]} == {overwritten, swapped}
    assert len(reads) == 5


def test_a_file_that_changed_a_moment_ago_is_not_trusted(
    tmp_path: Path, memory: Memory, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "SETTLED_SECONDS", 60.0)
    paths = write(tmp_path, 1)
    hash_files(paths, memory=memory)
    hash_files(paths, memory=memory)
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write(tmp_path, 1)

    def read_and_change(path: Path) -> str:
        digest = hash_file(path)
        path.write_bytes(b"new")
        return digest

    monkeypatch.setattr(content, "hash_file", read_and_change)
    hash_files([path], memory=memory)
    monkeypatch.undo()
    assert hash_files([path], memory=memory) == {path: hash_file(path)}


def test_an_interrupted_pass_goes_on(
    tmp_path: Path, memory: Memory, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path, 10)
    paths[5].unlink()
    paths[5].mkdir()
    with pytest.raises(UserError, match=r"005\.png"):
        hash_files(paths, workers=1, memory=memory)
    paths[5].rmdir()
    paths[5].write_bytes(b"5")
    hash_files(paths, workers=1, memory=memory)
    assert [reads.count(path) for path in paths[:5]] == [1] * 5


def test_processes_side_by_side_lose_nothing(tmp_path: Path, memory: Memory, reads: list[Path]) -> None:
    paths = write(tmp_path, 400)
    code = (
        "import sys, data.content as c; from pathlib import Path; c.SETTLED_SECONDS = -1.0; c.SAVE_SECONDS = 0.0;"
        "c.hash_files([Path(p) for p in sys.argv[2:]], memory=c.Memory(Path(sys.argv[1])))"
    )
    parts = [paths[number::3] for number in range(3)]
    running = [
        subprocess.Popen([sys.executable, "-c", code, memory.path, *part], stderr=subprocess.PIPE, text=True)
        for part in parts
    ]
    assert [(process.wait(), process.stderr.read()) for process in running if process.stderr] == [(0, "")] * 3
    assert hash_files(paths, memory=memory) == {path: hash_file(path) for path in paths}
    assert not reads


def test_a_damaged_or_unwritable_memory_is_no_obstacle(
    tmp_path: Path, memory: Memory, reads: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    paths = write(tmp_path, 2)
    memory.path.parent.mkdir()
    memory.path.write_bytes(b"no database " * 100)
    hash_files(paths, memory=memory)
    assert "is damaged" in caplog.text
    hash_files(paths, memory=memory)
    assert len(reads) == 2
    (tmp_path / "file").touch()
    unwritable = Memory(tmp_path / "file" / "content.sqlite")
    assert len(hash_files(paths, memory=unwritable)) == 2
    assert caplog.text.count("EIAD_CACHE") == 1


def test_a_lock_that_stays_is_no_obstacle(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(content, "WAIT_SECONDS", 0.1)
    paths = write(tmp_path, 1)
    hash_files(paths, memory=memory)
    other = sqlite3.connect(memory.path)
    other.execute("BEGIN EXCLUSIVE")
    assert hash_files(paths, memory=memory) == {paths[0]: hash_file(paths[0])}
    other.close()
    assert "locked" in caplog.text


def test_a_missing_file_is_named(tmp_path: Path, memory: Memory) -> None:
    with pytest.raises(UserError, match=r"gone\.png"):
        hash_files([tmp_path / "gone.png"], memory=memory)


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIAD_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("EIAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "eiad"


def test_a_sample_is_its_image_and_its_mask(tmp_path: Path, memory: Memory) -> None:
    image, mask, other = write(tmp_path, 3)
    plain = Sample(id="a/0", dataset="a", category="c", split="test", image=image)
    marked = replace(plain, defect="hole", mask=MaskFile(mask))
    drawn = replace(plain, defect="hole", mask=Polygons((((0, 0), (4, 0), (4, 4)),), path=other))
    moved = tmp_path / "moved.png"
    moved.write_bytes(image.read_bytes())
    same = replace(marked, id="b/7", dataset="b", category="d", defect="gap", image=moved)
    samples = [
        plain,
        marked,
        replace(marked, mask=MaskFile(mask, threshold=127)),
        replace(marked, mask=MaskFile(other)),
        drawn,
        replace(drawn, mask=Polygons((((0, 0), (4, 0), (4, 5)),), path=other)),
        replace(plain, image=other),
    ]
    assert len(set(hash_samples(samples, memory=memory))) == len(samples)
    first, second = hash_samples([marked, same], memory=memory)
    assert first == second
