"""Code that comes with weights: it runs only where the user's own command line says so, and only what was read.

A checkpoint names such code as `auto_map` in its JSON files, and libraries run it while they load, ms-swift even where
it was told not to. A JSON file may also name an attention kernel of the hub, which would be downloaded and run, or, as
an adapter's does, another checkpoint, which would be loaded instead. Every loader therefore asks `admit` first, and
gives the libraries the folder and the answer that it returns. No file of a run, an export or a checkpoint can grant
this trust; runs and exports only record which it was.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_file, hash_value
from models.weights.hub import COMMIT, HUB_ID, find_commit, resolve_checkpoint
from models.weights.shards import check_format

KEY = "auto_map"
KERNEL = re.compile(r"_?(attn|experts)_implementation(_internal)?")  # keys; a value `owner/name` is a kernel of the hub
ADAPTER = "adapter_config.json"
HASH = re.compile(r"[0-9a-f]{64}")
REFERENCE = re.compile(r"(\w+)\.\w+")  # module.Class; `owner/name--module.Class` would be fetched from elsewhere
FLAG = "trust_remote_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A checkpoint that libraries may load.

    Attributes:
        place: Its folder, or its file.
        revision: The commit of a snapshot in the hub's cache; of another folder what the user gave as its pin.
        code: SHA-256 of its code files (`hash_code`), which may run; None where it names no code.
    """

    place: Path
    revision: str | None
    code: str | None

    @property
    def trust_remote_code(self) -> bool:
        """What to tell the libraries; False unless code of the checkpoint has to run."""
        return self.code is not None


def admit(
    place: str | Path,
    *,
    revision: str | None = None,
    trusted: bool = False,
    code: str | None = None,
    flag: str | None = FLAG,
    pin: str = "revision",
) -> Admitted:
    """Finds a checkpoint and refuses it if it would run code that the user has not allowed.

    Args:
        place: File, folder, or hub id in the cache; see `resolve_checkpoint`.
        revision: The pin. Of a hub id its commit; of a folder the hash of its code files, or the commit that it was
            downloaded from.
        trusted: Whether the user's command line allows code that comes with the weights.
        code: Hash of the code files that a run or an export was made with; this is a pin, too.
        flag: The setting that allows it, for messages; None where no setting does.
        pin: The setting of the pin, for messages.

    Raises:
        UserError: If the checkpoint is missing; holds pickles for weights; names code and that is not allowed, not
            pinned, another one than the pin says, incomplete, or of another repository; names a kernel of the hub; or
            is an adapter.
    """
    found = resolve_checkpoint(place, revision)
    commit = find_commit(found)
    if (found / ADAPTER).is_file():
        raise UserError(
            f"{found} holds an adapter ({ADAPTER}), for which libraries would load the base that it names. Give that "
            "base's folder, and this one as the adapter."
        )
    if found.is_dir():
        check_format(found)
    named_in = _read_names(found)
    if named_in.kernels:
        file, kernel = named_in.kernels[0]
        raise UserError(
            f"{found / file} asks for '{kernel}', a kernel of the hub, which would be downloaded and run, and no pin "
            "holds it. Remove that line from the file: attention then runs on torch's own."
        )
    references = named_in.code
    if not references:
        return Admitted(place=found, revision=commit or revision, code=None)
    named = f"{found} names code of its own ({KEY} in {sorted(references)[0]})"
    if flag is None:
        raise UserError(f"{named}, and none is run here. Give a checkpoint that needs none.")
    if not trusted:
        raise UserError(f"{named}, which would run with your rights. Read it; to allow it, set {flag}=true.")
    digest = _check_code(found, [name for names in references.values() for name in names])
    _check_pin(str(place), found, revision, digest, code, pin)
    return Admitted(place=found, revision=commit or revision, code=digest)


def find_code(place: Path) -> dict[str, list[str]]:
    """The JSON files of a folder that name code, with what they name; nothing of a single file."""
    return _read_names(place).code


def hash_code(folder: Path) -> str:
    """SHA-256 over the names and the SHA-256s of all Python files of a folder; a moved copy keeps it."""
    files = sorted(folder.rglob("*.py"))
    return hash_value([[path.relative_to(folder).as_posix(), hash_file(path)] for path in files])


@dataclass(frozen=True, slots=True)
class _Named:
    """What the JSON files of a folder name, at any depth and in any subfolder.

    Attributes:
        code: File → the classes that it names.
        kernels: Files, each with a kernel of the hub.
    """

    code: dict[str, list[str]]
    kernels: list[tuple[str, str]]


def _read_names(place: Path) -> _Named:
    named = _Named({}, [])
    for path in sorted(place.rglob("*.json")) if place.is_dir() else []:
        found: list[tuple[str, Any]] = []
        try:
            json.loads(path.read_bytes(), object_pairs_hook=partial(_note, found))
        except (ValueError, RecursionError, OSError):
            continue  # no library reads it, either
        name = path.relative_to(place).as_posix()
        if any(key == KEY for key, _ in found):
            named.code[name] = [one for key, value in found if key == KEY for one in _names(value)]
        kernels = [one for key, value in found if key != KEY for one in _names(value)]
        named.kernels.extend((name, one) for one in kernels if "/" in one)
    return named


def _note(found: list[tuple[str, Any]], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keeps what stands under the keys; a number there is a token of a vocabulary."""
    for key, value in pairs:
        if (key == KEY or KERNEL.fullmatch(key)) and not isinstance(value, int | float):
            found.append((key, value))
    return dict(pairs)


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _names(one)
    elif isinstance(value, str):
        yield value


def _check_code(folder: Path, references: list[str]) -> str:
    """Refuses a folder that lacks a named module or what that imports from beside it; returns the hash of its code."""
    waiting = []
    for reference in references:
        if (match := REFERENCE.fullmatch(reference)) is None:
            raise UserError(
                f"{folder} names code outside the folder: '{reference}'. Download that file into it, read it, and "
                f"write module.Class in its {KEY}."
            )
        waiting.append(match[1])
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        path = folder / f"{module}.py"
        if module in seen:
            continue
        seen.add(module)
        if not path.is_file():
            raise UserError(f"{folder} lacks its code file {path.name}. Download the checkpoint again, with *.py.")
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError) as error:
            raise UserError(f"{path} is no Python: {error}. Download the checkpoint again.") from error
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                waiting += [node.module.replace(".", "/")] if node.module else [alias.name for alias in node.names]
    return hash_code(folder)


def _check_pin(place: str, folder: Path, revision: str | None, digest: str, recorded: str | None, key: str) -> None:
    commit = find_commit(folder)
    if recorded is not None:
        if digest != recorded:
            raise UserError(
                f"The code in {folder} is not the code that was trained with: its SHA-256 is {digest[:16]}…, recorded "
                f"is {recorded[:16]}…. Restore the checkpoint, or train again with the code you have read."
            )
    elif revision is None or not (COMMIT.fullmatch(revision) or HASH.fullmatch(revision)):
        is_hub = not Path(place).expanduser().exists() and HUB_ID.fullmatch(place)
        pin = f"{commit or '<commit>'}, the commit" if is_hub else f"{digest}, the hash of its code files"
        given = f", and {key}={revision} can move" if revision else ""
        raise UserError(f"{place} runs code of its own{given}: pin what you have read with {key}={pin}.")
    elif revision not in (digest, commit) and (commit is not None or HASH.fullmatch(revision)):
        raise UserError(
            f"The code in {folder} is not what {key}={revision} says: its SHA-256 is {digest}. Read it again before "
            "you change the pin."
        )
