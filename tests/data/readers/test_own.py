"""Readers that live outside of the project."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from data.plugins.trust import allow
from data.readers.own import load_reader
from data.readers.registry import find_reader

HEAD = """
from pathlib import Path
from data.readers.listing import Listed, Skipped
from data.sample import Sample

def sample(image, id="own/a.png"):
    return Sample(id=id, dataset="own", category="c", split="test", image=image)
"""
Load = Callable[[str], Callable]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Load:
    """Writes a reader's code and loads it."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(code: str) -> Callable:
        module = f"own_reader_{abs(hash((request.node.name, code)))}"
        (tmp_path / f"{module}.py").write_text(HEAD + code, encoding="utf-8")
        allow(f"{module}:read")
        return load_reader(f"{module}:read", ["bsdata"])

    return load


def test_a_list_and_what_was_left_out_come_through(load: Load) -> None:
    plain = load("def read(root: Path) -> list[Sample]:\n    return [sample(root / 'a.png')]\n")
    listed = plain(Path("/x"))
    assert [one.image for one in listed.samples] == [Path("/x/a.png")]
    assert listed.skipped == []
    whole = load(
        "def read(root, *, split: str = 'train', limit: int | None = None):\n"
        "    return Listed([sample(root / split)], [Skipped('own/b.png', 'blurred', 'c', split)])\n"
    )
    assert whole(Path("/x"), split="val").samples[0].image == Path("/x/val")
    assert whole(Path("/x")).skipped[0].reason == "blurred"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("read = 3\n", r"is no function but 3"),
        ("def read():\n    return []\n", r"takes \(\)\. It must take the folder alone"),
        ("def read(root, split):\n    return []\n", r"takes \(root, split\)"),
        ("def read(root, **options):\n    return []\n", r"takes \(root, \*\*options\)"),
        ("def read(root, *, split: str):\n    return []\n", r"its option 'split' needs a plain type and a default"),
        ("def read(root, *, split='a'):\n    return []\n", r"its option 'split' needs a plain type"),
        ("def read(root, *, splits: list[str] = []):\n    return []\n", r"its option 'splits' needs a plain type"),
        ("def read(root: 'Nowhere'):\n    return []\n", r"its parameters cannot be read \(name 'Nowhere'"),
    ],
)
def test_a_wrong_shape_is_told_before_anything_is_read(load: Load, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(code)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("(one for one in [])", r"returned <generator.*must return a list of data\.sample\.Sample"),
        ("[root]", r"lists .*Each must be a Sample"),
        ("[sample('a.png')]", r"Each must be a Sample whose image is a Path"),
        ("[sample(root / 'a.png', 'a.png')]", r"the id 'a\.png'\. An id is 'own/' and the path"),
        ("[sample(root / 'a.png', 'own/../../a.png')]", r"the id 'own/\.\./\.\./a\.png'"),
    ],
)
def test_a_wrong_listing_is_told(load: Load, returned: str, message: str) -> None:
    read = load(f"def read(root):\n    return {returned}\n")
    with pytest.raises(UserError, match=message):
        read(Path("/x"))


def test_a_known_name_needs_no_import() -> None:
    assert find_reader("visa").__module__ == "data.readers.visa"
    with pytest.raises(UserError, match=r"Unknown reader 'visaa'\. Did you mean visa\?"):
        find_reader("visaa")
