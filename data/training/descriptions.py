"""Descriptions on disk: an append-only log that says of each text who wrote it, how, and about which pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from data.content import hash_files
from data.ddqa.compose import FREE_PROMPT
from data.ddqa.wording import QUESTIONS, Task
from data.errors import UserError
from data.files import append_jsonl, hash_value, read_json, read_jsonl
from data.sample import Sample

log = logging.getLogger(__name__)


class DescribeMode(StrEnum):
    """`free`: the paper's open prompt. `structured`: composed from the model's own answers to AD, RDL and DC."""

    free = "free"
    structured = "structured"


class Naming(StrEnum):
    """How a structured description finds the region and the type of a defect among many names.

    `rounds`: questions with four options, one after the other; the winner meets the next three. `at_once`: all names in
    one pass by the likelihoods of their letters, and a last question between the four best.
    """

    rounds = "rounds"
    at_once = "at_once"


@dataclass(frozen=True, slots=True)
class Manner:
    """How images are described. What the MDLM is told must be of the manner that it was trained with.

    Attributes:
        mode: How the text comes about.
        length: Most tokens of a free description; a structured one is as long as its sentences.
        naming: How a structured one finds its names.
    """

    mode: DescribeMode = DescribeMode.structured
    length: int = 48
    naming: Naming = Naming.rounds

    def facts(self) -> dict[str, Any]:
        """Mode, instruction, length and naming, as logs and manifests record them; what plays no part is 0 or empty."""
        free = self.mode is DescribeMode.free
        return {
            "mode": self.mode.value,
            "instruction": FREE_PROMPT if free else " ".join(QUESTIONS[task] for task in (Task.AD, Task.RDL, Task.DC)),
            "length": self.length if free else 0,
            "naming": "" if free else self.naming.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionRow:
    """One description.

    Attributes:
        key: See `description_key`.
        id: `Sample.id`, or the path below the folder that was described.
        image: Path of the image.
        image_hash: SHA-256 of its bytes.
        mode: `free` or `structured`.
        instruction: What was asked.
        length: See `Manner.facts`.
        naming: Likewise.
        description: The text.
        answers: The model's own answers that it was composed from.
        model: Names the base weights.
        adapter: Names the adapter's weights; empty without one.
    """

    key: str
    id: str
    image: str
    image_hash: str
    mode: str
    instruction: str
    length: int
    description: str
    naming: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    adapter: str = ""


def description_key(
    *,
    model: str,
    adapter: str,
    manner: Manner,
    names: Sequence[str],
    image_hash: str,
    decoding: Mapping[str, Any],
) -> str:
    """Names a description by its causes: the same key means the same text.

    Args:
        model: Names the base weights.
        adapter: Names the adapter's weights.
        manner: How it is described.
        names: Names of defects that a structured description chooses from.
        image_hash: Hash of the image.
        decoding: How the next token is chosen.
    """
    chosen = list(names) if manner.mode is DescribeMode.structured else []
    return hash_value([model, adapter, manner.facts(), chosen, image_hash, dict(decoding)])


class DescriptionLog:
    """Appends rows to a log; a row is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; a torn last line is ignored and cut off by the next append."""
        self.path = path
        rows = read_jsonl(path) if path.is_file() else []
        self.latest = {row["id"]: row["key"] for row in rows}

    def append(self, rows: Iterable[DescriptionRow]) -> None:
        """Writes rows at the end of the log."""
        kept = list(rows)
        append_jsonl(self.path, [asdict(row) for row in kept])
        self.latest |= {row.id: row.key for row in kept}


def load_descriptions(
    path: Path, samples: Sequence[Sample] = (), expected: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Descriptions by sample id; of several for one id the last counts.

    Args:
        path: The log.
        samples: What they are needed for: these are compared with their images as they are now. One that has no
            description is not missed here.
        expected: What their rows must say, by name: any of those of `Manner.facts`, `model`, `adapter`.

    Raises:
        UserError: If there is no log, it holds no row, or a sample's description has another writer or manner than
            expected, or is about another image.
    """
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Write them first: python -m scripts.describe run=…")
    rows = {row["id"]: row for row in read_jsonl(path)}
    if not rows:
        raise UserError(f"No descriptions in {path}. Delete it and run scripts.describe again.")
    _check_rows(path, [(sample, rows[sample.id]) for sample in samples if sample.id in rows], expected or {})
    return {name: row["description"] for name, row in rows.items()}


def _check_rows(path: Path, pairs: Sequence[tuple[Sample, dict[str, Any]]], expected: Mapping[str, Any]) -> None:
    hashes = hash_files(sample.image for sample, row in pairs if "image_hash" in row)
    unknown = 0
    for sample, row in pairs:
        unknown += "image_hash" not in row
        for name, value in expected.items():
            if row.get(name, value) != value:
                raise UserError(
                    f"The description of {sample.id} in {path} was written with {name} '{row[name]}', wanted is "
                    f"'{value}'. {_way_out(name)}"
                )
        if row.get("image_hash", hashes.get(sample.image)) != hashes.get(sample.image):
            raise UserError(
                f"The description of {sample.id} in {path} is about another image than {sample.image} holds now. "
                "Run scripts.describe again: it describes what changed."
            )
    if unknown:
        log.warning(
            "%d descriptions in %s come from an earlier version, which recorded neither image nor instruction: whether "
            "they fit cannot be checked. Run scripts.describe again to be sure.",
            unknown,
            path,
        )


def _way_out(name: str) -> str:
    if name in ("model", "adapter"):
        return "EDDM was trained again since: run scripts.describe again, it describes anew what another one wrote."
    if name == "naming":
        return "Run scripts.describe with naming= as wanted."
    return (
        "Run scripts.describe with mode= and length= as wanted, or set mode= and length= here to take them as they are."
    )


def read_manner(folder: Path) -> Manner | None:
    """The manner of the descriptions that an MDLM was trained with; None where its manifest names none.

    Args:
        folder: Directory of the MDLM, with `manifest.json`.
    """
    path = folder / "manifest.json"
    facts = read_json(path).get("descriptions") if path.is_file() else None
    if not facts:
        return None
    return Manner(DescribeMode(facts["mode"]), facts["length"], Naming(facts.get("naming") or Naming.rounds))


def choose_manner(folder: Path, mode: DescribeMode | None, length: int | None) -> Manner:
    """What an MDLM is to be told: as it was trained, unless a mode or length is set.

    Args:
        folder: Directory of the MDLM.
        mode: Another mode; None keeps the MDLM's.
        length: Another length; None keeps the MDLM's.
    """
    trained = read_manner(folder) or Manner()
    chosen = Manner(mode or trained.mode, length if length is not None else trained.length, trained.naming)
    if chosen.facts() != trained.facts():
        log.warning("The MDLM in %s was trained with %s; it is told %s.", folder, trained.facts(), chosen.facts())
    return chosen
