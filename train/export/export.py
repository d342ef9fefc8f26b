"""One export from beginning to end: check, write under a temporary name, prove, describe, rename, maybe upload."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from data.errors import UserError
from data.files import make_dir
from data.run import Run, open_run
from models.mdlm.files import MANIFEST
from train.export.card import write_card
from train.export.config import ExportConfig, Part
from train.export.eddm import missing_eddm, size_eddm, write_eddm
from train.export.hub import check_hub, push
from train.export.mdlm import choose_mdlm, missing_mdlm, size_mdlm, write_mdlm
from train.export.part import Written
from train.export.proof import Comparison, prove, write_proof

log = logging.getLogger(__name__)
PROOF = "proof.json"
Exporter = tuple[Callable[[], int], Callable[[Path], Written]]


def export_adapter(config: ExportConfig) -> list[str]:
    """Exports the modules of a run.

    Returns:
        One line a comparison of the proof, then where the export is.

    Raises:
        UserError: If the run holds nothing to export, the place is bad or too small, or the proof fails: what was
            written then stays as `<out>.incomplete`.
    """
    run, out = open_run(config.run), Path(config.out)
    check_settings(config)
    check_out(run, out, overwrite=config.overwrite)
    parts = find_parts(run, config)
    api = check_hub(config.push_to_hub, private=config.private) if config.push_to_hub else None
    make_dir(out.parent)
    check_space(out.parent, sum(size() for size, _ in parts.values()))
    work = make_work(out)
    comparisons: list[Comparison] = []
    for name, (_, write) in parts.items():
        log.info("Export, %s: writing", name)
        written = write(work / name)
        log.info("Export, %s: loading it in a fresh process", name)
        comparisons += prove(written, config.tolerance)
        del written
    write_proof(work / PROOF, comparisons)
    if failed := [row for row in comparisons if not row.passed]:
        raise UserError(f"The export differs from the run. {failed[0].to_line()}. It stays, unproven, at {work}.")
    write_card(work, run, config, comparisons)
    publish(work, out)
    lines = [row.to_line() for row in comparisons] + [f"exported to {out}"]
    if api is not None:
        lines.append(f"uploaded to {push(api, config.push_to_hub, out, private=config.private)}")
    return lines


def find_parts(run: Run, config: ExportConfig) -> dict[str, Exporter]:
    """How to size and write each module that is to be exported.

    Raises:
        UserError: If a wanted module is not in the run, or none is.
    """
    found: dict[str, Exporter] = {}
    reasons = []
    if config.part is not Part.mdlm:
        reason = missing_eddm(run)
        if not reason:
            found["eddm"] = (lambda: size_eddm(run, config), lambda folder: write_eddm(run, folder, config))
        reasons += [f"EDDM: {reason}"] if reason else []
    if config.part is not Part.eddm:
        mode = choose_mdlm(run, config.description)
        reason = missing_mdlm(run, mode)
        if not reason:
            found["mdlm"] = (lambda: size_mdlm(run, mode, config), lambda folder: write_mdlm(run, mode, folder, config))
        elif config.description is not None:
            raise UserError(f"Nothing to export for description={mode}: {reason}. Train it, or choose another.")
        reasons += [f"MDLM: {reason}"] if reason else []
    if not found:
        raise UserError(f"Nothing to export from {run.path}. {'; '.join(reasons)}. Finish its training first.")
    for reason in reasons:
        log.info("Export: left out, %s", reason)
    return found


def check_settings(config: ExportConfig) -> None:
    """Rejects numbers that cannot work.

    Raises:
        UserError: If a number is not positive, or `dtype` is set without `merge`.
    """
    if config.shard_gib <= 0:
        raise UserError(f"shard_gib={config.shard_gib} is no size: give a positive number of GiB.")
    if config.tolerance is not None and not config.tolerance >= 0:
        raise UserError(f"tolerance={config.tolerance} is no difference: give a number of at least 0.")
    if config.dtype is not None and not config.merge:
        raise UserError(f"dtype={config.dtype} is for merge=true: adapters keep the number format of their training.")


def check_out(run: Run, out: Path, *, overwrite: bool) -> None:
    """Refuses a place that is taken, or that is inside the run or around it.

    Raises:
        UserError: If it is.
    """
    inner, outer = out.resolve(), run.path.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UserError(f"out={out} and run={run.path} lie inside each other. Choose a directory outside the run.")
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"out={out} exists. Choose another name, or set overwrite=true to replace an earlier export.")
    if not is_export(out):
        raise UserError(f"out={out} is not an export, so overwrite=true leaves it alone. Choose another name.")


def is_export(folder: Path) -> bool:
    """Whether a directory was written by this command, proven or not."""
    return (folder / PROOF).is_file() and any((folder / part / MANIFEST).is_file() for part in ("eddm", "mdlm"))


def check_space(folder: Path, needed: int) -> None:
    """Asks for room before anything is written.

    Raises:
        UserError: If the disk is too small.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"The export takes about {needed / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB free. "
            "Free some space, or choose another out=."
        )


def make_work(out: Path) -> Path:
    """A fresh directory beside the export, whose name says that it is not finished."""
    work = out.with_name(f"{out.name}.incomplete")
    if work.exists():
        if any(work.iterdir()) and not any((work / part).is_dir() for part in ("eddm", "mdlm")):
            raise UserError(f"{work} is in the way and no unfinished export. Move it, or choose another out=.")
        shutil.rmtree(work)
    return make_dir(work)


def publish(work: Path, out: Path) -> None:
    """Gives the proven export its name; an earlier one goes only after that."""
    for path in work.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # safetensors writes files that only their owner can read
    old = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    if out.exists():
        out.rename(old)
    work.rename(out)
    shutil.rmtree(old, ignore_errors=True)
