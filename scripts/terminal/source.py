"""A command's settings read from source text: importing them would take seconds, and a page of help none of it.

A script names its schema, a dataclass that lives beside its owner. Its fields, their meanings (the `Attributes:` of the
docstrings) and the classes that they mention are found by following the `from … import …` lines.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
UNKNOWN = object()  # a default that only running the code would tell


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a command.

    Attributes:
        name: Dotted name.
        kind: What its value is, in words; empty for anything.
        meaning: From the docstring of its class, on one line.
        choices: Names that it takes; empty for any value.
        default: Of the dataclass; UNKNOWN where there is none, or only running the code would tell.
        inner: The settings below it, where its value is a dataclass.
        is_free: Whether keys of any name may follow, `<name>.<any>=`.
    """

    name: str
    kind: str
    meaning: str
    choices: tuple[str, ...] = ()
    default: Any = UNKNOWN
    inner: tuple[Setting, ...] = ()
    is_free: bool = False

    def all(self) -> list[Setting]:
        """Itself and everything below it."""
        return [self, *(found for setting in self.inner for found in setting.all())]


@dataclass(frozen=True, slots=True)
class CommandSource:
    """What a script says about itself.

    Attributes:
        doc: Its docstring: how it is called, and what it does.
        settings: Its settings, in the order of the schema, those of a base class last.
        aliases: Words of its command line and the keys that they stand for.
    """

    doc: str
    settings: tuple[Setting, ...]
    aliases: dict[str, str] = field(default_factory=dict)

    def all(self) -> list[Setting]:
        """All settings, also nested ones."""
        return [found for setting in self.settings for found in setting.all()]


def read_command(script: Path) -> CommandSource:
    """Reads a script that says `@command("name", Schema)`.

    Raises:
        ValueError: If it does not, or its schema cannot be found.
    """
    tree = _parse(script)
    for node in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "command":
                keywords = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                found = _find_class(script, ast.unparse(call.args[1]))
                if found is None:
                    raise ValueError(f"{script}: no class {ast.unparse(call.args[1])} in its imports")
                settings = tuple(_settings(*found, "", ()))
                return CommandSource(ast.get_docstring(tree) or "", settings, keywords.get("aliases", {}))
    raise ValueError(f"{script}: no function is a command")


def example_of(key: str, source: CommandSource) -> str:
    """The value that a script's docstring shows for a setting; `…` if it shows none."""
    found = re.search(rf"(?<![\w.]){re.escape(key)}=([^\s\[\]|]*[^\s\[\]|.,:;])", source.doc)
    return found[1] if found else "…"


def read_names(file: Path, name: str) -> list[str]:
    """The values of an enum of texts, or the keys of a dictionary, that a file writes down."""
    for node in _parse(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return [ast.literal_eval(item.value) for item in node.body if isinstance(item, ast.Assign)]
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict) and ast.unparse(node.target) == name:
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    raise ValueError(f"{file}: no enum or dictionary {name}")


def started_command(arguments: Sequence[str]) -> str:
    """What of `scripts` a Python was started for, `python … -m scripts.<name> …`; empty where it is something else.

    Args:
        arguments: The whole command line, from `python` on.
    """
    at = arguments.index("-m") if "-m" in arguments else len(arguments)
    package, _, name = "".join(arguments[at + 1 : at + 2]).partition(".")
    return name if package == "scripts" else ""


def list_commands() -> list[str]:
    """The names of all commands."""
    return sorted(script.stem for script in (ROOT / "scripts").glob("*.py") if is_command(script))


def is_command(script: Path) -> bool:
    """Whether a script says `@command(…)`."""
    return script.is_file() and "\n@command(" in script.read_text(encoding="utf-8")


def _settings(file: Path, node: ast.ClassDef, prefix: str, above: tuple[str, ...]) -> list[Setting]:
    """The fields of a dataclass; those of a base class follow, for they are the less special ones."""
    found: dict[str, Setting] = {}
    meanings = _meanings(file, node)
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            name = f"{prefix}{item.target.id}"
            setting = _setting(file, item, name, meanings.get(item.target.id, ""), (*above, node.name))
            found[name] = setting
    for base in node.bases:
        if isinstance(base, ast.Name) and (parent := _find_class(file, base.id)):
            found |= {other.name: other for other in _settings(*parent, prefix, above) if other.name not in found}
    return list(found.values())


def _meanings(file: Path, node: ast.ClassDef) -> dict[str, str]:
    """What a class says of its fields; of those that it repeats from others it may name just the other classes."""
    text = ast.get_docstring(node) or ""
    found: dict[str, str] = {}
    for name in re.findall(r"`(\w+)`", text.partition("Attributes:")[0]):
        if (other := _find_class(file, name)) and other[1] is not node:
            found |= read_meanings(ast.get_docstring(other[1]) or "")
    return found | read_meanings(text)


def _setting(file: Path, item: ast.AnnAssign, name: str, meaning: str, above: tuple[str, ...]) -> Setting:
    annotation, optional = _without_none(item.annotation)
    default = _default(file, item.value)
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value)
        if outer == "dict":
            return Setting(name, "any names", meaning, default=default, is_free=True)
        kind, choices, nested = _kind(file, annotation.slice)
        if nested:  # what cannot be left out of one of them
            needed = [part.name for part in _settings(*nested, "", above) if part.default is UNKNOWN]
            kind = f"list of {{{', '.join(f'{part}: …' for part in needed)}}}"
        else:
            kind = f"list of {kind}s" if kind else "list"
        return Setting(name, kind, meaning, choices, default)
    kind, choices, nested = _kind(file, annotation)
    inner = tuple(_settings(*nested, f"{name}.", above)) if nested and nested[1].name not in above else ()
    kind = f"{kind}, or null" if optional and kind else kind
    return Setting(name, kind, meaning, choices, default, inner, ast.unparse(annotation) == "Any")


def _kind(file: Path, annotation: ast.expr) -> tuple[str, tuple[str, ...], tuple[Path, ast.ClassDef] | None]:
    """A type in words, the names that it takes, and its class if it has settings of its own."""
    name = ast.unparse(annotation)
    if name in PLAIN:
        return PLAIN[name], (), None
    found = _find_class(file, name)
    if found is None:
        return "", (), None
    if any("Enum" in ast.unparse(base) for base in found[1].bases):
        names = [item.targets[0] for item in found[1].body if isinstance(item, ast.Assign)]
        return "", tuple(target.id for target in names if isinstance(target, ast.Name)), None
    return "", (), found


def _without_none(annotation: ast.expr) -> tuple[ast.expr, bool]:
    """`X | None` as X, and whether there was a None."""
    if isinstance(annotation, ast.BinOp) and ast.unparse(annotation.right) == "None":
        return annotation.left, True
    return annotation, False


def _default(file: Path, value: ast.expr | None) -> Any:
    """A default as the command line would write it: an enum's name, a list, a number."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        given = {word.arg: word.value for word in value.keywords}
        if "default" in given:
            return _default(file, given["default"])
        factory = given.get("default_factory")
        if factory is not None and ast.unparse(factory) in ("list", "dict"):
            return [] if ast.unparse(factory) == "list" else {}
        return _default(file, factory.body) if isinstance(factory, ast.Lambda) else UNKNOWN
    if isinstance(value, ast.Attribute):
        return value.attr
    if isinstance(value, ast.Name):
        constant = _find(file, value.id)
        return _default(constant[0], constant[1].value) if constant and isinstance(constant[1], ast.Assign) else UNKNOWN
    if isinstance(value, ast.List):
        items = [_default(file, item) for item in value.elts]
        return UNKNOWN if UNKNOWN in items else items
    try:
        return UNKNOWN if value is None else ast.literal_eval(value)
    except ValueError:
        return UNKNOWN


def read_meanings(docstring: str) -> dict[str, str]:
    """The entries of a docstring's `Attributes:`, each on one line."""
    _, _, section = inspect.cleandoc(docstring).partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break  # the next section
        if entry := re.match(r"    (\w+): (.*)", line):
            name, meanings[entry[1]] = entry[1], entry[2]
        elif line.strip():
            meanings[name] += f" {line.strip()}"
    return meanings


def _find_class(file: Path, name: str) -> tuple[Path, ast.ClassDef] | None:
    """The file and the class that a name means in a file of this house; None for what comes from elsewhere."""
    found = _find(file, name)
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def _find(file: Path, name: str) -> tuple[Path, ast.stmt] | None:
    """The file and the statement that make a name, through the imports of this house."""
    for node in _parse(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return file, node
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return file, node
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    other = ROOT / Path(*node.module.split(".")).with_suffix(".py")
                    return _find(other, alias.name) if other.is_file() else None
    return None


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
