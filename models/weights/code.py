"""What the doctor says about code that comes with a checkpoint: allowed, pinned, whole, as published, loadable here."""

from __future__ import annotations

from pathlib import Path

from data.doctor.problems import Problem, problem
from data.errors import UserError
from models.chat.minicpmv26 import mended
from models.weights.hub import COMMIT, resolve_checkpoint
from models.weights.table import Checkpoint, TrainedPart
from models.weights.trust import admit, find_code, hash_code


def check_code(
    folder: Path,
    entry: Checkpoint | None,
    part: TrainedPart,
    *,
    revision: str | None,
    trusted: bool,
    found: list[Problem],
) -> None:
    """Examines the code of a checkpoint folder, and imports it where that is allowed and pinned.

    Args:
        folder: The folder, or a snapshot in the hub's cache.
        entry: Its entry in the table; None if it is not there.
        part: The module that starts from it; only EDDM's may bring code.
        revision: The pin.
        trusted: Whether the code may run.
        found: Gets the problems.
    """
    flag = "model.trust_remote_code" if part is TrainedPart.eddm else None
    try:
        admitted = admit(folder, revision=revision, trusted=trusted, flag=flag, pin="model.revision")
    except UserError as error:
        if not any(item.code == "unexpected-code" for item in found):
            found.append(problem("unpinned-code" if flag else "unexpected-code", folder, str(error)))
        return
    if admitted.code is None:
        return
    if entry is not None and entry.hub and revision and COMMIT.fullmatch(revision):
        published = _find_published(entry.hub, revision)
        if published is not None and hash_code(published) != admitted.code:
            text = f"Its code is not that of {entry.hub} at {revision}, which lies in {published}."
            found.append(problem("other-code", folder, text))
    if reason := _try_code(folder):
        found.append(problem("broken-code", folder, f"Its code does not load under the installed versions: {reason}"))


def _find_published(hub: str, revision: str) -> Path | None:
    try:
        return resolve_checkpoint(hub, revision)
    except UserError:
        return None


def _try_code(folder: Path) -> str:
    """Imports every class that the folder names, without weights; why that fails, or nothing."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module  # slow to import

    try:
        with mended(folder, trusted=True):
            for reference in sorted({name for names in find_code(folder).values() for name in names}):
                get_class_from_dynamic_module(reference, folder, local_files_only=True)
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return ""
