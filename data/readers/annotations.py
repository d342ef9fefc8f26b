"""Checked access to files that others wrote: a wrong type, or a name that leads out of the folder, is named."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from data.errors import UserError, brief

Value = TypeVar("Value")
PLAIN = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")  # no part begins with a dot


def take(record: Any, key: str, kind: type[Value], source: Path) -> Value:
    """The value of a key in a record of an annotation file.

    Args:
        record: What should be a mapping with the key.
        key: The key.
        kind: Type of its value.
        source: The file, for the message.

    Raises:
        UserError: If the record is no mapping, the key is missing, or its value has another type.
    """
    if isinstance(record, dict) and isinstance(value := record.get(key), kind):
        return value
    raise UserError(
        f"Unexpected content in {source}: no {kind.__name__} '{key}' in {brief(record)}. Download the file again."
    )


def check_inside(relative: str, source: Path) -> str:
    r"""A path from an annotation file, checked to stay below the folder that it is relative to, with `/` for `\`.

    Raises:
        UserError: If it is empty or absolute, or climbs with `..`.
    """
    if PLAIN.fullmatch(relative):  # what nearly all are: pathlib takes twenty times as long
        return relative
    path = PurePosixPath(relative.replace("\\", "/"))
    if not path.parts or path.is_absolute() or PureWindowsPath(relative).drive or ".." in path.parts:
        raise UserError(
            f"Path outside its folder: {brief(relative)} in {source}. Paths must stay below the folder that they are "
            "relative to: correct the file, or download it again."
        )
    return path.as_posix()


def find_inside(root: Path, relative: str, source: Path, *, sealed: bool = False) -> Path:
    """The place below a folder that a file names: an annotation, an index, a manifest.

    A dataset's folder, and each folder below it, may be a link, because labs keep images on other disks. A file may be
    one as long as it leads below the root, below the folder that it lies in, or into the hub's own cache.

    Args:
        root: What the name is relative to.
        relative: The name.
        source: The file that it stands in, for messages.
        sealed: Whether a linked folder may not lead out, either: exports and checkpoints are written by programs.

    Raises:
        UserError: If the name climbs out of the root, or a link leads out.
    """
    path = root / check_inside(relative, source)
    if not sealed and not path.is_symlink():
        return path
    target, allowed = Path(os.path.realpath(path)), [Path(os.path.realpath(root))]
    allowed += [snapshots.parent / "blobs" for snapshots in allowed[0].parents if snapshots.name == "snapshots"]
    if not sealed:
        allowed.append(Path(os.path.realpath(path.parent)))
    if not any(target.is_relative_to(place) for place in allowed):
        raise UserError(
            f"Path outside its folder: {brief(relative)} in {source} is a link to {target}. Put the file itself there"
            f"{'' if sealed else ', or link its whole folder'}."
        )
    return path


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, other line ends than LF and CRLF left in them; a byte-order mark is accepted.

    Raises:
        UserError: If the file is missing or is not UTF-8 text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    except FileNotFoundError as error:
        raise UserError(f"Missing file: {path}. Download the dataset again.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Not UTF-8 text: {path}, byte {error.start}. Download the file again.") from error
