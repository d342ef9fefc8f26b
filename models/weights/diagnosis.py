"""Examines the checkpoints that a training starts from: where they lie, whether they are whole, what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from data.doctor.problems import Problem, count_severities, problem, settle
from data.doctor.report import list_problems
from data.errors import UserError
from data.files import hash_file
from models.mdlm.sam import SamConfig
from models.weights.check import Wanting, check_file, check_folder, check_pin, check_sam
from models.weights.code import check_code
from models.weights.hub import find_file, resolve_checkpoint
from models.weights.published import published_hash
from models.weights.table import TrainedPart, checkpoints, find_checkpoint

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A checkpoint that a training is configured to start from, or an expert to see with.

    Attributes:
        place: Path or hub id.
        part: The module that starts from it, or the expert's.
        key: Key of its command that takes another place.
        revision: Pinned revision; None takes the newest.
        trust_remote_code: Whether it may run code of its own.
        sam: SAM's architecture, where it is SAM's.
        file: Whether it is a single file.
        inside: The single file that is read of a hub id.
        wanting: Tells what a single file must hold; None where that is found when it is loaded.
        users: Who wants it: presets and experts, as they are asked for.
    """

    place: str
    part: TrainedPart
    key: str
    revision: str | None = None
    trust_remote_code: bool = False
    sam: SamConfig | None = None
    file: bool = False
    inside: str = ""
    wanting: Callable[[], Wanting] | None = None
    users: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """What lies at one place.

    Attributes:
        wanted: What was looked for.
        title: Its name for people.
        path: Where it lies; empty where nothing does.
        bytes: Size of its weight files.
        hashes: SHA-256 of each weight file, and whether it is the published one (None: no published hash is known).
        problems: What is wrong.
    """

    wanted: Wanted
    title: str
    path: str = ""
    bytes: int = 0
    hashes: dict[str, tuple[str, bool | None]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WeightsDiagnosis:
    """The result for all checkpoints of a preset, or of experts; `free` is bytes by folder."""

    preset: str
    found: list[Found]
    free: dict[str, int]
    problems: list[Problem]

    @property
    def passed(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not count_severities(self.problems)["error"]

    def document(self) -> dict[str, Any]:
        """Everything as JSON values, beside what the doctor says about datasets."""
        return {
            "passed": self.passed,
            "totals": count_severities(self.problems),
            "weights": {
                "preset": self.preset,
                "checkpoints": [
                    {
                        "title": item.title,
                        "place": item.wanted.place,
                        "command": item.wanted.part.command,
                        "key": item.wanted.key,
                        "wanted_by": list(item.wanted.users),
                        "path": item.path,
                        "bytes": item.bytes,
                        "sha256": {name: digest for name, (digest, _) in item.hashes.items()},
                    }
                    for item in self.found
                ],
                "free_bytes": self.free,
            },
            "problems": [{"severity": item.severity.value, **asdict(item)} for item in self.problems],
        }

    def text(self, *, show: int | None) -> str:
        """The same for a terminal; `show` limits the files that are named for each kind of problem."""
        lines = [f"Checkpoints of weights={self.preset}"]
        if not self.found:
            lines.append("  none: this preset trains its own small models")
        for item in self.found:
            users = f"; wanted by {', '.join(item.wanted.users)}" if item.wanted.users else ""
            lines.append(f"  {item.title}: {item.path or 'not there'}, {item.bytes / 1e9:.2f} GB{users}")
            marks = {True: "as published", False: "NOT as published", None: "no published hash to compare with"}
            lines += [f"    sha256 {digest}  {name} ({marks[same]})" for name, (digest, same) in item.hashes.items()]
        lines += [f"  free: {size / GIB:.1f} GiB at {folder}" for folder, size in self.free.items()]
        return "\n\n".join("\n".join(part) for part in [lines, *list_problems(self.problems, show=show)])


def examine_weights(preset: str, wanted: Sequence[Wanted], *, hashes: bool, download: bool = False) -> WeightsDiagnosis:
    """Examines all checkpoints of a preset.

    Args:
        preset: Its name.
        wanted: What its trainings start from.
        hashes: Whether whole files are read for their hashes.
        download: Whether what the hub's cache lacks of them is downloaded first.
    """
    found = [_examine(item, hashes=hashes, download=download) for item in wanted]
    problems = [entry for item in found for entry in item.problems]
    homes: dict[int, Path] = {}  # one folder for each disk: what is missing on it adds up
    needed: dict[int, float] = {}
    for item in found:
        folder = _home(item)
        disk = folder.stat().st_dev
        homes.setdefault(disk, folder)
        entry = find_checkpoint(item.wanted.place)
        if not item.path and entry is not None:
            needed[disk] = needed.get(disk, 0) + entry.gigabytes * 1e9
    free = {str(folder): shutil.disk_usage(folder).free for folder in homes.values()}
    for disk, size in needed.items():
        left = free[str(homes[disk])]
        if size > left:
            text = f"{size / GIB:.1f} GiB are missing, {left / GIB:.1f} GiB are free."
            problems.append(problem("no-space", homes[disk], text))
    return WeightsDiagnosis(preset, found, free, settle(problems))


def _examine(wanted: Wanted, *, hashes: bool, download: bool) -> Found:
    entry = find_checkpoint(wanted.place)
    found = Found(wanted, entry.title if entry else wanted.place)
    if download and not _is_path(wanted):
        try:
            if wanted.inside:
                find_file(wanted.place, wanted.inside, wanted.revision, download=True)
            else:
                resolve_checkpoint(wanted.place, wanted.revision, download=True)
        except UserError as error:
            found.problems.append(problem("missing-weights", wanted.place, str(error)))
    path = locate(wanted)
    if path is None:
        if entry is not None:
            pin = check_pin(entry, wanted.place, revision=wanted.revision, allowed=wanted.trust_remote_code)
            found.problems += pin
        found.problems.append(problem("missing-weights", wanted.place, _why_missing(wanted), how_to_get(wanted)))
        return found
    found.path = str(path)
    if path.is_dir():
        rest = [item for item in checkpoints().values() if (item.part, item.key) == (wanted.part, wanted.key)]
        candidates = [entry] if entry else [item for item in rest if item.config]
        contents = check_folder(path, candidates, found.problems)
        revision, trusted = wanted.revision, wanted.trust_remote_code
        check_code(path, entry, wanted.part, revision=revision, trusted=trusted, found=found.problems)
    elif wanted.sam is not None:
        contents = check_sam(path, wanted.sam, entry, found.problems)
    elif wanted.file:
        contents = check_file(path, entry, wanted.wanting() if wanted.wanting else None, found.problems)
    else:
        text = "Is a file; a checkpoint in transformers' format is a folder."
        found.problems.append(problem("missing-weights", path, text))
        return found
    if entry is None:
        found.problems.append(problem("unknown-weights", path, "Is not in the table of checkpoints."))
    found.bytes = sum(file.stat().st_size for file in contents.files)
    for file in contents.files if hashes else []:
        digest, published = hash_file(file), published_hash(file, entry)
        same = digest.startswith(published) if published else None
        found.hashes[file.name] = digest, same
        if same is False:
            text = f"Its SHA-256 is {digest}, published is {published}."
            found.problems.append(problem("wrong-hash", file, text))
    return found


def _is_path(wanted: Wanted) -> bool:
    """Whether a place is meant as a path: it has a suffix of weights, or cannot be a hub id."""
    place, path = wanted.place, Path(wanted.place)
    if wanted.file:
        return not wanted.inside
    return (
        path.exists()
        or path.is_absolute()
        or place.startswith((".", "~"))
        or path.suffix in (".pt", ".pth", ".safetensors")
    )


def locate(wanted: Wanted) -> Path | None:
    """The file or folder on this machine: the path itself, or the hub's cache; nothing is downloaded."""
    path = Path(wanted.place).expanduser()
    if _is_path(wanted):
        return path if path.exists() else None
    if wanted.inside:
        return find_file(wanted.place, wanted.inside, wanted.revision)
    try:
        return Path(snapshot_download(wanted.place, revision=wanted.revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def _home(item: Found) -> Path:
    """The folder whose disk matters: of the checkpoint, or of where it would be put; the nearest that exists."""
    place = Path(item.path or item.wanted.place) if _is_path(item.wanted) else Path(constants.HF_HUB_CACHE)
    folder = place.expanduser().absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _why_missing(wanted: Wanted) -> str:
    if _is_path(wanted):
        return "There is no such file or folder."
    at = f" at revision {wanted.revision}" if wanted.revision else ""
    return f"Is not in the hub's cache, {constants.HF_HUB_CACHE}{at}."


def how_to_get(wanted: Wanted) -> str:
    """The command or address that gets a checkpoint, its size, and the setting that names another place."""
    entry = find_checkpoint(wanted.place)
    other = f"or set {wanted.key}=PATH for {wanted.part.command}"
    if _is_path(wanted):
        if entry is not None and entry.url:
            return f"Download {entry.gigabytes} GB from {entry.url} to {wanted.place}, {other}."
        return f"Check the path, {other}."
    inside = f" {wanted.inside}" if wanted.inside else ""
    revision = f" --revision {wanted.revision}" if wanted.revision else ""
    size = f"{entry.gigabytes} GB: " if entry is not None else ""
    also = f", or download {entry.url}" if entry is not None and entry.url else ""
    return f"{size}hf download {wanted.place}{inside}{revision}{also}, {other}."
