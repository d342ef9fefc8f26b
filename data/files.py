"""Reading and writing small files so that an interrupted run never leaves a half-written one."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import yaml

from data.errors import UserError, suggest, writing
from data.processes.aside import written_aside

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that a spreadsheet computes

WRITERS = {  # folders of a run, and the commands that fill them
    "ddqa": "build_ddqa run_dir=RUN",
    "descriptions": "describe run=RUN",
    "eddm": "train_eddm run_dir=RUN",
    "mdlm": "train_mdlm run_dir=RUN",
}


def make_dir(path: Path) -> Path:
    """Creates a directory and its parents.

    Raises:
        UserError: If a part of the path is a file, or cannot be written.
    """
    try:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"Cannot create the directory {path}: a file is in the way. Choose another path.") from error
    return path


def missing_file(path: Path) -> UserError:
    """The error of a file that is not there: its likely spelling, the command that writes it, or what to check."""
    near = suggest(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else ""
    folder = next((folder for folder in list(path.parents)[:2] if folder.name in WRITERS), None)
    if folder and folder.parent.is_dir():
        return UserError(f"Missing file: {path}.{near} It is written by: python -m scripts.{WRITERS[folder.name]}.")
    where = "" if path.parent.is_dir() else f" Nor is there a folder {path.parent}."
    return UserError(f"Missing file: {path}.{near or where or ' Check the path.'}")


def in_any_case(path: Path) -> Path:
    """A path with its last name as it is on disk, where the two differ in upper and lower case only."""
    if path.exists() or not path.parent.is_dir():
        return path
    alike = sorted(entry for entry in path.parent.iterdir() if entry.name.lower() == path.name.lower())
    return alike[0] if alike else path


@contextmanager
def atomic_open(path: Path) -> Iterator[TextIO]:
    """Opens a temporary text file that replaces `path` only when the block succeeds."""
    make_dir(path.parent)
    with written_aside(path) as temporary, temporary.open("x", encoding="utf-8") as file:
        yield file


def write_bytes(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Writes a binary file atomically; see `written_aside` for `durable`."""
    make_dir(path.parent)
    with written_aside(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_open(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file; a byte-order mark is accepted.

    Raises:
        UserError: If the file is missing or is not JSON.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise missing_file(path) from error
    return _parse(content.removeprefix(codecs.BOM_UTF8), path, "Delete or repair it.")


class PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them stand for gigabytes, and no file here needs one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuses an alias.

        Raises:
            yaml.YAMLError: Naming it and its line.
        """
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"the alias *{event.anchor[:40]} in line {event.start_mark.line + 1} is not read")
        return super().compose_node(parent, index)


def parse_yaml(text: str, path: Path, loader: type[PlainLoader] = PlainLoader) -> Any:
    """Parses YAML of plain values.

    Raises:
        UserError: If it is no YAML, has an alias, or is nested too deep.
    """
    try:
        return yaml.load(text, Loader=loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"Not valid YAML: {path}: {' '.join(str(error).split())[:300]}. Repair it.") from error
    except RecursionError as error:
        raise UserError(f"Not valid YAML: {path} is nested too deep. Repair it.") from error


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Reads a table whose first line names its columns; values lose surrounding spaces. A BOM and CRLF do no harm.

    Args:
        path: The file.
        columns: Columns that it must have; others are left out.

    Raises:
        UserError: If the file is missing, is not UTF-8, lacks a column, or a row has too few or too many values.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except FileNotFoundError as error:
        raise UserError(f"Missing file: {path}. Check the dataset folder, or run the download again.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"Not a CSV table in UTF-8: {path}: {error}. Download it again.") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if lacking := [name for name in columns if name not in header]:
        raise UserError(f"No column {', '.join(lacking)} in {path}; it has: {', '.join(header)}. Download it again.")
    table = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise UserError(f"Row {number} of {path} has {len(row)} values, not {len(header)}. Repair that line.")
        values = dict(zip(header, (value.strip() for value in row), strict=True))
        table.append({name: values[name] for name in columns})
    return table


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table, atomically. A cell that a spreadsheet would compute, unless it is a number, begins with a `'`."""
    with atomic_open(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([f"'{cell}" if _is_formula(cell) else cell for cell in row] for row in rows)


def _is_formula(cell: str) -> bool:
    return cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Writes one JSON object a line, atomically; returns the number of rows."""
    count = 0
    with atomic_open(path) as file:
        for row in rows:
            file.write(_to_line(row))
            count += 1
    return count


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Appends rows to a log and flushes them to disk.

    A last row without its line end gets one. A torn last line (the process died while writing) is moved to the file
    `<name>.torn`, so the log stays readable and nothing is lost.

    Raises:
        UserError: If the disk is full, or the log cannot be written.
    """
    make_dir(path.parent)
    text = "".join(map(_to_line, rows))
    with writing(path):
        if path.exists() and path.stat().st_size:
            _end_last_line(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _to_line(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character in a reply: no file can hold it but as an escape
        text = json.dumps(row)
    return text + "\n"


def _end_last_line(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        content = file.read()
        start = content.rfind(b"\n") + 1
        if _is_whole(content[start:]):
            file.write(b"\n")
            return
        with path.with_name(f"{path.name}.torn").open("ab") as torn:
            torn.write(content[start:] + b"\n")
            torn.flush()
            os.fsync(torn.fileno())
        file.truncate(start)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    r"""Reads a JSON-lines file: a row is what stands before `\n`, whatever other line ends a text may hold.

    A whole last row counts without its `\n`; a torn one, left by an interrupted append, does not. A byte-order mark and
    empty lines are skipped.

    Raises:
        UserError: If the file is missing, or a line other than a torn last one is not JSON in UTF-8.
    """
    if not path.is_file():
        raise missing_file(path)
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    if not _is_whole(lines[-1]):
        lines.pop()
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            rows.append(_parse(line, path, "Delete that line.", number))
    return rows


def _parse(content: bytes, path: Path, cure: str, line: int | None = None) -> Any:
    where = f"{path}, line {line}" if line else str(path)
    try:
        return json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise UserError(f"Not valid JSON: {path}, line {line or error.lineno}: {error.msg}. {cure}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Not valid JSON: {where} is not UTF-8 at byte {error.start}. {cure}") from error
    except RecursionError as error:
        raise UserError(f"Not valid JSON: {where} is nested too deep. {cure}") from error


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value, independent of key order, as 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
