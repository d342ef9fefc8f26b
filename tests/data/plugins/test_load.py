"""Every way in which a plug-in can be missing or broken is told with the value, the place and the way out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from data.plugins import trust
from data.plugins.load import Kind, load_plugin

KIND = Kind("reader", "package.module:function", ("bsdata", "anomalib:Model"))
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module where imports find it, and allows what it holds."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(module: str, code: str) -> Path:
        path = tmp_path / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
        trust.allow([f"{module}:{name}" for name in ("read", "raed")])
        return path

    return write


def test_a_module_of_a_package_is_found(write: Write) -> None:
    write("loads_well.inner", "def read(root):\n    return [root]\n")
    plugin = load_plugin("loads_well.inner:read", KIND)
    assert plugin.found("x") == ["x"]
    assert plugin.name == "loads_well.inner:read"
    assert len(plugin.version) == 16


def test_the_version_changes_with_the_code_and_with_nothing_else(write: Write, tmp_path: Path) -> None:
    write("versioned_a", "def read(root):\n    return 1\n")
    write("versioned_b", "def read(root):\n    return 1\n")
    write("versioned_c", "def read(root):\n    return 2\n")
    a, b, c = (load_plugin(f"versioned_{name}:read", KIND).version for name in "abc")
    assert a == b != c


def test_the_version_follows_a_function_to_where_it_is_written(write: Write) -> None:
    write("written_here", "def read(root):\n    return 1\n")
    write("given_on_a", "from written_here import read\n")
    write("written_there", "def read(root):\n    return 2\n")
    write("given_on_b", "from written_there import read\n")
    first, second = (load_plugin(f"given_on_{name}:read", KIND).version for name in "ab")
    assert first != second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bsdat", r"Unknown reader 'bsdat'\. Did you mean bsdata\? Known readers: .*is package\.module:function"),
        ("my.own.read", r"Unknown reader 'my\.own\.read'\. Did you mean my\.own:read\?"),
        ("folder/own.py:read", r"reader=folder/own\.py:read is not package\.module:function: name the module"),
        ("own:", r"reader=own: is not package\.module:function"),
        ("never_allowed:read", r"plugins=\[never_allowed:read\]"),
    ],
)
def test_a_name_that_cannot_be_meant(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_plugin(name, KIND)


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (
            "no_such_module_here",
            "read",
            r"No module 'no_such_module_here' for reader=no_such_.* in /.* PYTHONPATH\. Name its",
        ),
        ("loads_well.no_such_part", "read", r"No module 'loads_well"),
        ("anomlib", "Padim", r"No module 'anomlib' .*Did you mean anomalib\?"),
    ],
)
def test_a_module_that_is_not_there(module: str, name: str, message: str) -> None:
    trust.allow(f"{module}:{name}")
    with pytest.raises(UserError, match=message):
        load_plugin(f"{module}:{name}", KIND)


@pytest.mark.parametrize(
    ("module", "code", "message"),
    [
        (
            "stops_a",
            "x = 1\nraise RuntimeError('no licence')\n",
            r"RuntimeError: 'no licence' \(.*stops_a\.py, line 2\)",
        ),
        ("stops_b", "import not_installed_here\n", r"stops while .*'not_installed_here'.*stops_b\.py, line 1"),
        ("stops_c", "def read(root)\n    pass\n", r"SyntaxError: .*stops_c\.py, line 1"),
        ("stops_d", "raise SystemExit(3)\n", r"SystemExit: '3' \(.*stops_d\.py, line 1\)"),
    ],
)
def test_a_module_that_stops_is_shown_with_its_line(write: Write, module: str, code: str, message: str) -> None:
    write(module, code)
    with pytest.raises(UserError, match=message):
        load_plugin(f"{module}:read", KIND)


def test_a_name_that_the_module_lacks(write: Write) -> None:
    path = write("lacks_a_name", "def read(root):\n    return []\n")
    with pytest.raises(UserError, match=rf"{path} has no 'raed'\. Did you mean read\?"):
        load_plugin("lacks_a_name:raed", KIND)
