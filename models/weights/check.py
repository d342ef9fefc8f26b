"""Is one checkpoint whole and the right one? Nothing of it is run, and only SAM's published pickle is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from data.doctor.problems import Problem, problem
from data.errors import UserError
from models.mdlm.sam import SamConfig
from models.weights.shapes import architecture, build_sam_shape
from models.weights.shards import INDEX, list_pickles
from models.weights.table import Checkpoint, read_key
from models.weights.tensors import read_tensors
from models.weights.trust import find_code

SIZE_TOLERANCE = 0.05  # of the table's rounded gigabytes
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Wanting:
    """What a single file must hold.

    Attributes:
        title: The model that it is for.
        shapes: Shape of each of its tensors.
        fix: What to do where the file holds others.
    """

    title: str
    shapes: Shapes
    fix: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint's weight files hold.

    Attributes:
        files: The weight files.
        shapes: Shape of each tensor by name.
    """

    files: list[Path]
    shapes: Shapes


def check_folder(folder: Path, candidates: Sequence[Checkpoint], found: list[Problem]) -> Contents:
    """Examines a checkpoint folder in transformers' format.

    Args:
        folder: The folder.
        candidates: What it may be, the likeliest first.
        found: Gets the problems.
    """
    contents = _read_folder(folder, found)
    expected, differences = _identify(folder, candidates, found)
    if expected is None:
        if differences:
            found.append(problem("wrong-architecture", folder / "config.json", differences))
        return contents
    for name in expected.files:
        if not (folder / name).is_file():
            found.append(problem("missing-shard", folder / name, f"Belongs to {expected.title}."))
    _check_code(folder, expected, found)
    _check_vocabulary(folder, contents, found)
    if contents.files and not any(item.code in ("missing-shard", "broken-weights") for item in found):
        size = sum(path.stat().st_size for path in contents.files)
        if abs(size / 1e9 - expected.gigabytes) > max(0.05, SIZE_TOLERANCE * expected.gigabytes):
            text = f"Its weights take {size / 1e9:.1f} GB; {expected.title} takes {expected.gigabytes} GB."
            found.append(problem("size-differs", folder, text))
    return contents


def check_sam(path: Path, config: SamConfig, expected: Checkpoint | None, found: list[Problem]) -> Contents:
    """Examines a single file with SAM's weights: Meta's `.pth`, or a `.safetensors` with the same names.

    Args:
        path: The file.
        config: The architecture that it must fit.
        expected: Its entry in the table.
        found: Gets the problems.
    """
    if expected is not None and expected.bytes is not None and path.stat().st_size != expected.bytes:
        text = f"Has {path.stat().st_size:,} bytes, not {expected.bytes:,}."
        found.append(problem("broken-weights", path, text))
        return Contents([path], {})
    shapes = _read_shapes(path, found)
    if shapes is not None:
        wanted = {name: tuple(tensor.shape) for name, tensor in build_sam_shape(config).state_dict().items()}
        fix = "Set width, depth, heads and global_layers of mdlm.sam to this checkpoint's, or name the right file."
        _compare(path, shapes, Wanting("SAM", wanted, fix), found)
    return Contents([path], shapes or {})


def check_file(path: Path, expected: Checkpoint | None, wanting: Wanting | None, found: list[Problem]) -> Contents:
    """Examines a single file of named tensors.

    Args:
        path: The file.
        expected: Its entry in the table.
        wanting: What it must hold; None where that is found when it is loaded.
        found: Gets the problems.
    """
    shapes = _read_shapes(path, found)
    if shapes is None:
        return Contents([path], {})
    if wanting is not None:
        _compare(path, shapes, wanting, found)
    size = path.stat().st_size
    if expected is not None and abs(size / 1e9 - expected.gigabytes) > max(0.05, SIZE_TOLERANCE * expected.gigabytes):
        text = f"It takes {size / 1e9:.2f} GB; {expected.title} takes {expected.gigabytes} GB."
        found.append(problem("size-differs", path, text))
    return Contents([path], shapes)


def _read_shapes(path: Path, found: list[Problem]) -> Shapes | None:
    """Shapes of a single file's tensors; None where it is damaged, which `found` then says."""
    try:
        if path.suffix == ".safetensors":
            return _safetensors_shapes(path)
        return {name: tuple(value.shape) for name, value in read_tensors(path, mapped=True).items()}
    except (SafetensorError, OSError, UserError) as error:
        found.append(problem("broken-weights", path, _first_line(error)))
        return None


def _compare(path: Path, shapes: Shapes, wanting: Wanting, found: list[Problem]) -> None:
    wanted = wanting.shapes
    wrong = [name for name in sorted(wanted.keys() | shapes.keys()) if wanted.get(name) != shapes.get(name)]
    if wrong:
        first = wrong[0]
        text = (
            f"{len(wrong)} of {len(wanted)} tensors differ from the configured {wanting.title}, first {first}: "
            f"{shapes.get(first, 'missing')} instead of {wanted.get(first, 'nothing')}."
        )
        found.append(problem("wrong-architecture", path, text, wanting.fix))


def check_pin(entry: Checkpoint, place: str, *, revision: str | None, allowed: bool) -> Iterator[Problem]:
    """Whether a checkpoint that runs code of its own is pinned to a commit, and allowed."""
    if not entry.remote_code:
        return
    if revision is None:
        yield problem(
            "unpinned-code", place, f"{entry.title} runs code of its own.", "Read it, then set model.revision=<commit>."
        )
    elif not re.fullmatch(r"[0-9a-f]{40}", revision):
        yield problem(
            "unpinned-code",
            place,
            f"model.revision='{revision}' can move.",
            "Give the commit: forty hexadecimal digits.",
        )
    if not allowed:
        text = f"{entry.title} runs code of its own, which is not allowed yet."
        yield problem("unpinned-code", place, text, "Read it, then set model.trust_remote_code=true.")


def _read_folder(folder: Path, found: list[Problem]) -> Contents:
    """Reads the headers of all shards and compares them with the index."""
    pickles = list_pickles(folder)
    index = folder / INDEX
    shards = sorted(folder.glob("*.safetensors"))
    if not shards and not index.is_file():
        for path in pickles:
            found.append(problem("pickled-weights", path, "Holds the weights as a pickle."))
        if not pickles:
            found.append(problem("missing-weights", folder, "Holds no weights (*.safetensors)."))
        return Contents([], {})
    found += [problem("stray-pickle", path, "Is not read.") for path in pickles]
    named = _read_index(index, found) if index.is_file() else {}
    missing = sorted(set(named.values()) - {path.name for path in shards})
    found += [problem("missing-shard", folder / name, f"{INDEX} names it.") for name in missing]
    shapes: Shapes = {}
    for path in shards:
        try:
            own = _safetensors_shapes(path)
        except (SafetensorError, OSError) as error:
            found.append(problem("broken-weights", path, _first_line(error)))
            continue
        lost = sorted(name for name, file in named.items() if file == path.name and name not in own)
        if lost:
            found.append(problem("broken-weights", path, f"Lacks {len(lost)} tensors of the index, first {lost[0]}."))
        if unnamed := sorted(set(own) - set(named)) if named else []:
            found.append(problem("broken-weights", path, f"Holds tensors that the index lacks, first {unnamed[0]}."))
        shapes |= own
    return Contents(shards, shapes)


def _read_index(path: Path, found: list[Problem]) -> dict[str, str]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(entries, dict) or not all(isinstance(file, str) for file in entries.values()):
            raise TypeError("weight_map is no table of file names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        found.append(problem("broken-weights", path, f"Is no index of shards: {_first_line(error)}"))
        return {}
    return entries


def _identify(folder: Path, candidates: Sequence[Checkpoint], found: list[Problem]) -> tuple[Checkpoint | None, str]:
    """The first candidate whose architecture the folder has; else None and how it differs from the likeliest one."""
    if not (folder / "config.json").is_file():
        found.append(problem("missing-shard", folder / "config.json", "Every checkpoint folder has one."))
        return None, ""
    try:
        values = architecture(str(folder))
    except (UserError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        found.append(problem("broken-weights", folder / "config.json", _first_line(error)))
        return None, ""
    differences = ""
    for entry in candidates:
        wrong = [key for key in entry.check if read_key(values, key) != read_key(entry.config, key)]
        if not wrong:
            return entry, ""
        shown = ", ".join(f"{key} is {read_key(values, key)}, not {read_key(entry.config, key)}" for key in wrong)
        differences = differences or f"Is not {entry.title}: {shown}."
    return None, differences


def _check_code(folder: Path, entry: Checkpoint, found: list[Problem]) -> None:
    for name in [] if entry.remote_code else find_code(folder):
        text = f"{entry.title} needs no code of its own, but this file names some (auto_map)."
        found.append(problem("unexpected-code", folder / name, text))


def _check_vocabulary(folder: Path, contents: Contents, found: list[Problem]) -> None:
    """The word embeddings must have as many rows as the config says."""
    values: dict[str, Any] = architecture(str(folder))
    words = read_key(values, "text_config.vocab_size") or values.get("vocab_size")
    for name, shape in contents.shapes.items():
        if name.endswith("embed_tokens.weight") and shape[0] != words:
            text = f"{name} has {shape[0]} words, config.json says {words}."
            found.append(problem("wrong-architecture", folder, text))


def _safetensors_shapes(path: Path) -> Shapes:
    """Shapes of all tensors, from the header; opening fails where the file is shorter than its header says."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
