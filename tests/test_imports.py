"""The house: imports point left, stop at a room's door, and never go round; rooms and files stay small."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["data", "models", "eval", "train", "scripts"]
ONLY_IN = {
    "segment_anything": {"models/mdlm/sam.py"},
    "swift": {"train/eddm/train.py", "models/chat/swift.py"},
    "wandb": {"train/engine/tracking.py"},
    "hydra": {"scripts/command.py"},
    "gradio": {"eval/assistant/page.py"},
}
ONE_FILE_EACH = {"data/readers", "scripts", "scripts/benchmarks"}  # per dataset, command or measurement
ROOM_FILES = 15  # a dozen, and a few
FILES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]
ROOMS = sorted({path.parent for path in FILES})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


MODULES = {name_of(path) for path in FILES if path.stem != "__init__"}


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that a file imports, also inside functions; `from room import module` gives both names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def public_modules(room: Path) -> set[str]:
    """What a room's door names after "Public modules:"."""
    words = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    _, separator, names = words.partition("Public modules:")
    assert separator, f"{room}/__init__.py does not say what is public"
    return set(re.findall(r"`(\w+)`", names))


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_imports_point_left(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    package = relative.split("/")[0]
    for name in imported(path):
        top = name.split(".")[0]
        if top in ORDER:
            assert ORDER.index(top) <= ORDER.index(package), f"{relative} imports {name}"
        if top in ONLY_IN:
            assert relative in ONLY_IN[top], f"{relative} imports {name}"
        assert top != "tests", f"{relative} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_imports_stop_at_the_door(path: Path) -> None:
    for name in imported(path) & MODULES:
        room = ROOT / Path(*name.split(".")[:-1])
        if room != path.parent and room != ROOT / "scripts":
            leaf = name.rsplit(".", 1)[1]
            assert leaf in public_modules(room), f"{by_name(path)} imports {name}, which the door of {room.name} hides"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != ROOT / "scripts"], ids=by_name)
def test_a_door_imports_nothing_and_names_what_is_there(room: Path) -> None:
    assert not imported(room / "__init__.py")
    assert public_modules(room) <= {path.stem for path in room.glob("*.py")}


def test_no_import_goes_round() -> None:
    arrows = {name_of(path): imported(path) & MODULES for path in FILES}
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> Iterator[str]:
        if name in way:
            yield " → ".join([*way[way.index(name) :], name])
        elif name not in done:
            for other in sorted(arrows[name]):
                yield from follow(other, [*way, name])
            done.add(name)

    assert not [circle for name in sorted(arrows) for circle in follow(name, [])]


@pytest.mark.parametrize("room", ROOMS, ids=by_name)
def test_rooms_stay_small(room: Path) -> None:
    if by_name(room) not in ONE_FILE_EACH:
        assert len([path for path in room.glob("*.py") if path.stem != "__init__"]) <= ROOM_FILES


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_eval_is_never_bound_as_a_name(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "eval" for alias in node.names), "use: from eval.x import y"


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
