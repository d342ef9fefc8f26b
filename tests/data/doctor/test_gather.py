import os
from pathlib import Path

import pytest

import data.content as content
import data.doctor.gather as gather
from data.content import Memory
from data.doctor.contents import Role, look_into
from data.doctor.gather import gather_facts
from data.doctor.tree import walk


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written by a test are older than the clock's tick."""
    monkeypatch.setattr(content, "SETTLED_SECONDS", -1.0)


def images_of(root: Path) -> dict[str, Role]:
    return dict.fromkeys(walk(root).images(), Role.IMAGE)


def test_an_interrupted_run_goes_on(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, calls = write_mvtec(normals=5), []

    def interrupted(path: Path, role: Role) -> dict:
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(path)
        return look_into(path, role)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gather, "look_into", interrupted)
        gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    resumed = gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    again = gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    assert (resumed.remembered, again.remembered) == (4, len(images_of(root)))
    assert resumed.facts == again.facts


def test_a_changed_file_is_read_again(write_mvtec, tmp_path: Path) -> None:
    root = write_mvtec()
    first = gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    name = next(iter(images_of(root)))
    path = root / name
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the same size and time
    second = gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    assert second.remembered == len(first.facts) - 1
    assert second.facts[Role.IMAGE, name]["fault"] == "corrupt-image"
    assert "fault" not in first.facts[Role.IMAGE, name]
    assert (
        gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"), fresh=True).remembered == 0
    )


def test_processes_see_the_same(write_mvtec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "ENOUGH", 1)
    root = write_mvtec(normals=6, defects=6)
    one = gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "one"))
    two = gather_facts(walk(root), images_of(root), workers=2, memory=Memory(tmp_path / "two"))
    assert one.facts == two.facts
    assert list(one.facts) == list(two.facts)


def test_a_damaged_or_unwritable_memory_is_no_obstacle(write_mvtec, tmp_path: Path, caplog) -> None:
    root = write_mvtec()
    gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c"))
    (tmp_path / "c").write_bytes(b"broken" * 200)
    assert gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c")).remembered == 0
    assert gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "c")).remembered == len(
        images_of(root)
    )
    (tmp_path / "file").touch()
    gather_facts(walk(root), images_of(root), workers=1, memory=Memory(tmp_path / "file" / "c"))
    assert "is damaged" in caplog.text
    assert "not remembered" in caplog.text
