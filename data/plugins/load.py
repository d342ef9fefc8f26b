"""From `package.module:name` to what it names, and what to say where there is no such thing.

The module is found as `import` finds it: in the folder that Python was started in, and in those of PYTHONPATH. What a
command starts inherits both.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from data.errors import UserError, brief, suggest
from data.files import hash_file, hash_value
from data.plugins.trust import FORM, check_allowed


@dataclass(frozen=True, slots=True)
class Kind:
    """What a plug-in may stand for.

    Attributes:
        word: What it is called in a message: `reader`.
        form: How it is named: `package.module:function`.
        known: Names that are no plug-ins.
    """

    word: str
    form: str
    known: Sequence[str] = ()

    def refuse(self, name: str) -> UserError:
        """The error of a name that is neither known nor has the form of a plug-in."""
        meant = suggest(name, self.known)
        if "." in name and not meant:
            module, _, last = name.removesuffix(".py").replace("/", ".").strip(".").rpartition(".")
            meant = f" Did you mean {module}:{last}?" if module and not name.endswith(".py") else ""
        known = ", ".join(self.known)
        return UserError(
            f"Unknown {self.word} {brief(name)}.{meant} Known {self.word}s: {known}; one of your own is {self.form}."
        )


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a name stands for.

    Attributes:
        name: As it was given.
        found: The function or class.
        version: 16 hex digits of the source files that it is written in, for the keys of what it computes. What these
            import is not part of it.
    """

    name: str
    found: Any
    version: str


def load_plugin(name: str, kind: Kind) -> Plugin:
    """Imports a plug-in.

    Args:
        name: `package.module:name`.
        kind: What it is to stand for.

    Raises:
        UserError: If the name has another form, the command line does not allow it, there is no such module, the module
            stops while it is imported, or it lacks the name.
    """
    parts = FORM.fullmatch(name)
    if parts is None and ":" in name:
        raise UserError(f"{kind.word}={brief(name)[1:-1]} is not {kind.form}: name the module as an import does.")
    if parts is None:
        raise kind.refuse(name)
    check_allowed(name)
    module = _import(parts["module"], name, kind)
    if not hasattr(module, parts["name"]):
        where = getattr(module, "__file__", None) or parts["module"]
        meant = suggest(parts["name"], vars(module))
        raise UserError(f"{kind.word}={name}: {where} has no '{parts['name']}'.{meant} Correct the name.")
    found = getattr(module, parts["name"])
    return Plugin(name, found, _version(module, found, name, kind))


def _import(module: str, name: str, kind: Kind) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module != missing and not module.startswith(f"{missing}."):
            raise _stopped(error, name, kind) from error  # something that the module itself imports
        meant = suggest(name.partition(":")[0], [known.partition(":")[0] for known in kind.known])
        raise UserError(
            f"No module '{missing}' for {kind.word}={name}: it is neither in {Path.cwd()} nor on PYTHONPATH.{meant} "
            "Name its folder: PYTHONPATH=FOLDER python -m scripts.…"
        ) from error
    except (Exception, SystemExit) as error:
        raise _stopped(error, name, kind) from error


def _stopped(error: BaseException, name: str, kind: Kind) -> UserError:
    """The error of a module that raises while it is imported: what, and where."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    file, line = where.filename, where.lineno
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    reason = f"{type(error).__name__}: {brief(str(error))}"
    return UserError(f"{kind.word}={name} stops while it is imported: {reason} ({file}, line {line}). Repair it.")


def _version(module: ModuleType, found: Any, name: str, kind: Kind) -> str:
    home = sys.modules.get(getattr(found, "__module__", None) or "", module)  # where it is written, if it is imported
    files = {Path(file) for file in (getattr(one, "__file__", None) for one in (module, home)) if file}
    if not files:
        raise UserError(f"{kind.word}={name}: its module has no file, so its version cannot be told. Write it to one.")
    return hash_value(sorted(hash_file(file) for file in files))[:16]
