"""The table of checkpoints: one entry a checkpoint, read from `table.yaml`, and shown in models/README.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("table.yaml")


class TrainedPart(StrEnum):
    """Which of the two modules starts from a checkpoint, or that a zero-shot expert sees with it."""

    eddm = "eddm"
    mdlm = "mdlm"
    expert = "expert"

    @property
    def command(self) -> str:
        """The command that takes another place for a checkpoint."""
        return "scripts.eval_expert" if self is TrainedPart.expert else f"scripts.train_{self.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One pre-trained checkpoint; `table.yaml` explains the fields.

    Attributes:
        name: Its key in the table.
        title: Name for people.
        license: License of the weights.
        part: The module that starts from it.
        key: Key of that module's training command that takes a local path instead.
        gigabytes: Size of its weights, in 10^9 bytes.
        presets: Presets that need it.
        experts: Zero-shot experts that need it.
        hub: Hub id; None where there is a `url` alone.
        hub_file: The single file that is read of the hub's folder; None takes the folder.
        url: Address of a single file; None where it lies on the hub alone.
        bytes: Exact size of the file at `url`, where known.
        sha256: Hash of the file at `url`, or the beginning of it, where known.
        files: What must lie in the folder beside the weights.
        remote_code: Whether it runs code of its own.
        config: Its architecture.
        check: Dotted keys of `config` that must agree with its config.json.
        note: What to know before the download.
    """

    name: str
    title: str
    license: str
    part: TrainedPart
    key: str
    gigabytes: float
    presets: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    hub: str | None = None
    hub_file: str | None = None
    url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    files: tuple[str, ...] = ()
    remote_code: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    check: tuple[str, ...] = ()
    note: str = ""

    @property
    def file(self) -> str:
        """Name of the file at `url`; empty where there is none."""
        return self.url.rsplit("/", 1)[-1] if self.url else ""

    @property
    def download(self) -> str:
        """The command, or the address, that gets it."""
        from_hub = f"hf download {self.hub}" + (f" {self.hub_file}" if self.hub_file else "")
        return " or ".join(way for way in (from_hub if self.hub else "", self.url or "") if way)


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """All checkpoints by name, in the table's order."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    found = {}
    for name, entry in table.items():
        lists = {key: tuple(entry.get(key, ())) for key in ("presets", "experts", "files", "check")}
        found[name] = Checkpoint(name=name, **{**entry, **lists, "part": TrainedPart(entry["part"])})
    return found


def find_checkpoint(place: str) -> Checkpoint | None:
    """The checkpoint that a configured path means: by hub id, by file name, or by the name of its folder."""
    path = Path(place)
    for entry in checkpoints().values():
        if place == entry.hub or (entry.file and path.name == entry.file):
            return entry
        folder = path.parent if entry.hub_file else path
        if entry.hub and _is_folder_of(entry.hub, folder) and entry.hub_file in (None, path.name):
            return entry
    return None


def _is_folder_of(hub: str, folder: Path) -> bool:
    """Whether a folder is named like the hub's, or is a snapshot of it in the hub's cache."""
    snapshots = folder.parent
    cached = snapshots.name == "snapshots" and snapshots.parent.name == f"models--{hub.replace('/', '--')}"
    return cached or folder.name == hub.rsplit("/", 1)[-1]


def read_key(config: dict[str, Any], dotted: str) -> Any:
    """A value deep in a config by its dotted key; None where there is none."""
    value: Any = config
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def compose_table() -> str:
    """The table as Markdown, for models/README.md."""
    lines = [
        "| Checkpoint | Hub id or file | Size | License | Needed by | Another place |",
        "|---|---|---|---|---|---|",
    ]
    for entry in checkpoints().values():
        places = [f"`{entry.hub}`" + (f" (`{entry.hub_file}`)" if entry.hub_file else "")] if entry.hub else []
        place = " or ".join(places + ([f"[`{entry.file}`]({entry.url})"] if entry.url else []))
        users = [f"`preset={name}`" for name in entry.presets] + [f"`expert={name}`" for name in entry.experts]
        needed = ", ".join(users) or "a choice"
        code = "; needs `model.revision=<commit>` and `model.trust_remote_code=true`" if entry.remote_code else ""
        note = f"; {entry.note}" if entry.note else ""
        own = f"`{entry.part.command} {entry.key}=PATH`{code}{note}"
        lines.append(f"| {entry.title} | {place} | {entry.gigabytes} GB | {entry.license} | {needed} | {own} |")
    return "\n".join(lines)
