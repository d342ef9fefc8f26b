import ast
import re
from collections.abc import Iterator
from pathlib import Path

from data.errors import brief, printable


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert printable("a\x1b[31mb\x07\r\x9b\u202e\x7f") == r"a\x1b[31mb\x07\r\x9b\u202e\x7f"
    assert printable("two\nlines\tand ü 零件") == "two\nlines\tand ü 零件"


def test_what_is_quoted_is_short() -> None:
    assert brief("washer") == "'washer'"
    nested = [["x" * 1000] * 1000] * 1000
    assert len(brief(nested)) < 250 and len(brief("x" * 10**6)) < 130


def _errors() -> Iterator[tuple[str, str]]:
    """(where, text with … for what is filled in) of every `UserError`."""
    root = Path(__file__).resolve().parents[2]
    for path in (
        path for room in ("data", "models", "eval", "train", "scripts") for path in (root / room).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError" and node.args:
                yield f"{path.relative_to(root)}:{node.lineno}", _spoken(node.args[0])


def _spoken(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_spoken, node.values))
    if isinstance(node, ast.BinOp):
        return _spoken(node.left) + _spoken(node.right)
    return "…"


def test_what_is_missing_is_told_with_what_to_do_about_it() -> None:
    missing = [(where, text) for where, text in _errors() if re.match(r"(Missing|No|Nothing|There is no)\b", text)]
    assert len(missing) > 60
    told = re.compile(r"[.;?:] [A-Za-z]|… [A-Z]|\. ?…|…$|\(python")
    assert not [found for found in missing if not told.search(found[1])]
