"""One export from beginning to end: check, write under a temporary name, prove, describe, rename, maybe upload."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from data.errors import UserError
from data.files import make_dir
from data.processes.aside import share
from data.processes.lock import held
from data.run import Run, open_run
from eval.inspection.familiar import FILE as FAMILIAR
from models.mdlm.files import MANIFEST
from train.export.card import write_card
from train.export.config import ExportConfig, Part
from train.export.eddm import missing_eddm, size_eddm, write_eddm
from train.export.hub import check_hub, push
from train.export.mdlm import choose_mdlm, missing_mdlm, size_mdlm, write_mdlm
from train.export.proof import Comparison, prove, write_proof
from train.export.written import Written

log = logging.getLogger(__name__)
PROOF = "proof.json"
Exporter = tuple[Callable[[ExportConfig], int], Callable[[Path, ExportConfig], Written]]


def export_adapter(config: ExportConfig) -> list[str]:
    """Exports the modules of a run.

    Returns:
        One line a comparison of the proof, then where the export is.

    Raises:
        UserError: If the run holds nothing to export, the place is bad or too small, or the proof fails: what was
            written then stays as `<out>.incomplete`.
    """
    run, out = open_run(config.run), Path(config.out)
    config.check()
    with held(out):
        return _export(config, run, out)


def _export(config: ExportConfig, run: Run, out: Path) -> list[str]:
    restore(out)
    check_out(run, out, overwrite=config.overwrite)
    parts = find_parts(run, config)
    api = check_hub(config.push_to_hub, private=config.private) if config.push_to_hub else None
    check_space(make_dir(out.parent), sum(size(config) for size, _ in parts.values()))
    work = make_work(out)
    comparisons: list[Comparison] = []
    for name, (_, write) in parts.items():
        log.info("Export, %s: writing, then loading it in a fresh process", name)
        comparisons += prove(write(work / name, config), config.tolerance)
    lines = [row.to_line() for row in comparisons]
    if not write_proof(work / PROOF, comparisons):
        failed = [row.to_line() for row in comparisons if not row.passed]
        raise UserError(f"The export differs from the run. {failed[0]}. It stays, unproven, at {work}.")
    write_card(work, run, config, comparisons)
    if (run.path / FAMILIAR).is_file():  # so that an inspection by the export knows unfamiliar photos, too
        shutil.copy2(run.path / FAMILIAR, work / FAMILIAR)
    publish(work, out)
    lines.append(f"exported to {out}")
    if api is not None:
        lines.append(f"uploaded to {push(api, config.push_to_hub, out, private=config.private)}")
    return lines


def find_parts(run: Run, config: ExportConfig) -> dict[str, Exporter]:
    """How to size and write each module that is to be exported.

    Raises:
        UserError: If a wanted module is not in the run, or none is.
    """
    found: dict[str, Exporter] = {}
    reasons: dict[str, str] = {}
    if config.part is not Part.mdlm:
        reasons["eddm"] = missing_eddm(run)
        found["eddm"] = partial(size_eddm, run), partial(write_eddm, run)
    if config.part is not Part.eddm:
        mode = choose_mdlm(run, config.description)
        reasons["mdlm"] = missing_mdlm(run, mode)
        found["mdlm"] = partial(size_mdlm, run, mode), partial(write_mdlm, run, mode)
        if config.description is not None and reasons["mdlm"]:
            raise UserError(
                f"Nothing to export for description={mode}: {reasons['mdlm']}. Train it, or choose another."
            )
    missing = [f"{name.upper()}: {reason}" for name, reason in reasons.items() if reason]
    if len(missing) == len(found):
        raise UserError(f"Nothing to export from {run.path}. {'; '.join(missing)}. Finish its training first.")
    for reason in missing:
        log.info("Export: left out, %s", reason)
    return {name: exporter for name, exporter in found.items() if not reasons[name]}


def check_out(run: Run, out: Path, *, overwrite: bool) -> None:
    """Refuses a place that is taken, or that is inside the run or around it.

    Raises:
        UserError: If it is.
    """
    inner, outer = out.resolve(), run.path.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UserError(f"out={out} and run={run.path} lie inside each other. Choose a directory outside the run.")
    if out.exists() and not overwrite:
        raise UserError(f"out={out} exists. Choose another name, or set overwrite=true to replace an earlier export.")
    is_export = (out / PROOF).is_file() and any((out / part / MANIFEST).is_file() for part in ("eddm", "mdlm"))
    if out.exists() and not is_export:
        raise UserError(f"out={out} is not an export, so overwrite=true leaves it alone. Choose another name.")


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
    if work.exists() and any(work.iterdir()) and not any((work / part).is_dir() for part in ("eddm", "mdlm")):
        raise UserError(f"{work} is in the way and no unfinished export. Move it, or choose another out=.")
    shutil.rmtree(work, ignore_errors=True)
    return make_dir(work)


def publish(work: Path, out: Path) -> None:
    """Gives the proven export its name; an earlier one goes only after that."""
    share(work)  # safetensors writes files that only their owner can read
    old = _replaced(out)
    if out.exists():
        out.rename(old)
    work.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def restore(out: Path) -> None:
    """Undoes what `publish` had begun when it was killed: an earlier export has its name again, or is gone."""
    old = _replaced(out)
    if old.is_dir() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _replaced(out: Path) -> Path:
    """Where an earlier export is for the moment in which the new one gets its name."""
    return out.with_name(f".{out.name}.replaced")
