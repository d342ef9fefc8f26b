"""The whole examination of a dataset: recognise, walk, list, look into every file, draw conclusions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.content import Memory
from data.doctor.checks import Seen, check_files, check_samples, choose_roles
from data.doctor.contents import Role
from data.doctor.counts import check_counts, compare, count_samples
from data.doctor.diagnosis import Diagnosis
from data.doctor.duplicates import find_duplicates, find_leaks, group_by_pixels
from data.doctor.gather import gather_facts
from data.doctor.listing import Listed, list_dataset, relative_path
from data.doctor.problems import Problem, problem, settle
from data.doctor.recognise import Recognition, recognise
from data.doctor.report import compose_report
from data.doctor.tree import walk
from data.errors import UserError, printable
from data.files import write_json, write_text
from data.readers.registry import find_reader


@dataclass(kw_only=True, slots=True)
class DoctorConfig:
    """What to examine, and how.

    Attributes:
        folder: Folder of a dataset; `data=` on the command line.
        reader: Name of the reader that knows its layout; None recognises the dataset.
        options: Options for the reader, where it takes some.
        against: Folder of a second dataset that must share no image with the first.
        workers: Processes that decode.
        json: Print one JSON document instead of a text.
        out: File for the complete list: JSON if its name ends in `.json`, else text.
        show: Files to name in the text for each kind of problem; the others are counted.
        cache: Folder that remembers what was looked into; None is the user's, see `data.content`.
        fresh: Look into every file again.
        weights: Preset whose pre-trained checkpoints are examined, instead of a dataset; `clip` are those of
            WinCLIP, AnoCLIP and CLIP Surgery, `saa` those of SAA+.
        download: Download the checkpoints of `weights` that the hub's cache lacks; nothing else ever downloads one.
        hashes: Read the whole weight files for their hashes, which takes a minute for a large checkpoint.
        eddm: Overrides of the EDDM's training, for its paths: `eddm.model.id=DIR`.
        mdlm: Overrides of the MDLM's training: `mdlm.mdlm.llava.path=DIR`.
        clip: Overrides of the CLIP: `clip.checkpoint=FILE`.
        saa: Overrides of SAA+'s checkpoints: `saa.dino.path=DIR`.
    """

    folder: str | None = None
    reader: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    against: str | None = None
    workers: int = 2
    json: bool = False
    out: str | None = None
    show: int = 5
    cache: str | None = None
    fresh: bool = False
    weights: str | None = None
    download: bool = False
    hashes: bool = True
    eddm: dict[str, Any] = field(default_factory=dict)
    mdlm: dict[str, Any] = field(default_factory=dict)
    clip: dict[str, Any] = field(default_factory=dict)
    saa: dict[str, Any] = field(default_factory=dict)


def diagnose(config: DoctorConfig) -> bool:
    """Examines what the config names, prints the result and saves it; returns whether there is no error.

    Raises:
        UserError: If nothing is named, or a setting makes no sense.
    """
    if config.folder is None:
        raise UserError("Nothing to examine. Say which dataset, data=DIR, or whose weights, weights=PRESET.")
    if config.workers < 1 or config.show < 1:
        raise UserError(f"workers={config.workers} and show={config.show}: both must be at least 1.")
    if config.reader is not None:
        find_reader(config.reader)  # an unknown one is no fault of the dataset
    diagnosis = examine(config, config.folder)
    if config.out and config.out.endswith(".json"):
        write_json(Path(config.out), diagnosis.document())
    elif config.out:
        write_text(Path(config.out), compose_report(diagnosis, show=None))
    document = json.dumps(diagnosis.document(), ensure_ascii=False)
    print(document if config.json else printable(compose_report(diagnosis, show=config.show)), flush=True)
    return diagnosis.passed


def examine(config: DoctorConfig, data: str) -> Diagnosis:
    """Examines one dataset, and the shared images with a second one."""
    found = recognise(Path(data), config.reader)
    diagnosis = Diagnosis(Path(data), found)
    problems, reported = list(found.problems), []
    if found.reader and found.root.is_dir() and not any(item.code == "several-datasets" for item in problems):
        listed, seen, of_tree = _look_through(config, found, diagnosis)
        problems += [*of_tree, *_conclude(listed, seen, found, diagnosis)]
        reported = listed.problems
        if config.against:
            problems += _compare_with(config, Path(config.against), listed, seen, found, diagnosis)
    diagnosis.problems = settle(problems, reported)
    return diagnosis


def _look_through(
    config: DoctorConfig, found: Recognition, diagnosis: Diagnosis | None
) -> tuple[Listed, Seen, list[Problem]]:
    tree = walk(found.root)
    listed = list_dataset(found, tree, config.options if diagnosis else None)
    roles = choose_roles(tree, listed) if diagnosis else _only_images(listed, found.root)
    memory = Memory(Path(config.cache) / "content.sqlite" if config.cache else None)
    gathered = gather_facts(tree, roles, workers=config.workers, memory=memory, fresh=config.fresh)
    if diagnosis:
        diagnosis.looked_into = Counter(role.value for role, _ in gathered.facts)
        diagnosis.remembered = gathered.remembered
    return listed, gathered.facts, tree.problems


def _only_images(listed: Listed, root: Path) -> dict[str, Role]:
    return {relative_path(sample.image, root): Role.IMAGE for sample in listed.samples}


def _conclude(listed: Listed, seen: Seen, found: Recognition, diagnosis: Diagnosis) -> Iterator[Problem]:
    root = found.root
    diagnosis.rows = count_samples(listed.samples)
    diagnosis.extras, diagnosis.skipped = listed.extras, listed.skipped
    yield from check_files(seen, root)
    yield from check_samples(listed, seen, root)
    yield from find_duplicates(group_by_pixels(listed, seen, root), root)
    if found.signature and found.signature.published and listed.samples:
        diagnosis.compared = compare(found.signature.reader, diagnosis.rows)
        yield from check_counts(diagnosis.compared)


def _compare_with(
    config: DoctorConfig, path: Path, listed: Listed, seen: Seen, found: Recognition, diagnosis: Diagnosis
) -> Iterator[Problem]:
    """Looks for images that both datasets hold."""
    other = recognise(path)
    if not other.root.is_dir() or other.reader is None:
        yield from (problem(item.code, item.file, f"against: {item.message}", item.fix) for item in other.problems)
        return
    if other.root == found.root:
        raise UserError(f"against={path} is the dataset itself. Name another one, or leave against= out.")
    there, seen_there, _ = _look_through(config, other, None)
    yield from (item for item in there.problems if item.code in ("reader-stopped", "no-samples"))
    for sample in there.samples:
        name = relative_path(sample.image, other.root)
        if "hash" not in (facts := seen_there.get((Role.IMAGE, name), {})):
            why = facts.get("why", "There is no such file.")
            yield problem("not-compared", other.root / name, f"Cannot be compared. {why}")
    copies = group_by_pixels(there, seen_there, other.root)
    diagnosis.images_compared = sum(map(len, copies.values()))
    yield from find_leaks(group_by_pixels(listed, seen, found.root), found.root, copies, other.root)
