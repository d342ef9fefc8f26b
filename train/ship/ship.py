"""Copies finished trainings of the tiny preset into the folder that ships with the code, in half precision.

    eddm/   model.safetensors, its config, tokenizer and processor
    mdlm/   llava/ sam.safetensors heads.safetensors replay.json
    run/    what an inspection reads of a run that was trained on those two

A run directory that holds bases ships them; one that was trained on shipped bases ships itself. Each folder gets a
card, and appears whole or not at all.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from data.errors import UserError, writing
from data.files import make_dir, read_json, read_jsonl, write_json
from data.processes.aside import share
from data.processes.lock import held
from data.run import SHIPPED, Run
from data.tiny.drawn import write_drawn
from data.tiny.referring import ReferringConfig
from data.training.grounding import AugmentConfig
from eval.calibration.file import CALIBRATION, read_calibration, write_calibration
from eval.inspection.familiar import FILE as FAMILIAR
from eval.inspection.familiar import load_familiar
from eval.inspection.sources import identify_eiad
from models.device import DeviceConfig
from models.eiad import EIADConfig
from models.mdlm.files import MANIFEST
from models.weights.shipped import is_shipped
from train.engine.identity import Identity
from train.export.card import hide_paths, read_metrics
from train.ship.card import Card, write_card
from train.ship.config import ShipConfig
from train.ship.half import write_half

log = logging.getLogger(__name__)
SCENES = "generic scenes that the code draws (data/tiny); no product of the demo and no dataset."
PRODUCTS = "the generated seen products of the demo (scripts.make_synthetic); nothing of its unseen categories."
MDLM_WEIGHTS = ("llava/model.safetensors", "sam.safetensors", "heads.safetensors")
MDLM_PARTS = ("adapter", "tokenizer", "heads.safetensors", MANIFEST)


def ship(run: Run, config: ShipConfig) -> list[Path]:
    """Ships what a run directory holds.

    Args:
        run: The run directory.
        config: Where to.

    Returns:
        The folders that were written; what was there before is replaced.

    Raises:
        UserError: If nothing in it is finished, a run was trained on other bases than those that ship, or `hours` does
            not say how long a base was trained.
    """
    folder = Path(config.folder) if config.folder else SHIPPED
    bases = {name: _finished(run, name) for name in ("eddm", "mdlm")}
    with held(folder):
        if any(bases.values()):
            written = [_ship_base(run, folder, name, identity, config) for name, identity in bases.items() if identity]
        else:
            written = [_ship_run(run, folder)]
    for path in written:
        log.info("Shipped %s: %.1f MB", path, sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) / 1e6)
    return written


def _finished(run: Run, name: str) -> Identity | None:
    """The identity of a finished base; None where there is none."""
    base = run.path / name / "base"
    done, told = (
        (base.with_suffix(".json"), base.with_suffix(".identity.json"))
        if name == "eddm"
        else (base / "config.json", base / "identity.json")
    )
    if not done.is_file() or not told.is_file():
        return None
    identity = Identity.from_json(read_json(told))
    if read_json(done)["fingerprint"] != identity.fingerprint:
        raise UserError(f"The base in {base} is being trained again. Wait until it is finished, then ship it.")
    return identity


def _ship_base(run: Run, folder: Path, name: str, identity: Identity, config: ShipConfig) -> Path:
    if name not in config.hours:
        raise UserError(f"The card of {name}'s base says how long it was trained: give ship.hours.{name}=HOURS.")
    base, seed = run.path / name / "base", int(identity.settings["seed"])
    with _whole(folder / name) as target:
        if name == "eddm":
            _copy(base, target, [path.name for path in base.iterdir() if path.suffix != ".safetensors"])
            write_half(base / "model.safetensors", target / "model.safetensors")
        else:
            _copy(base, target, ["llava"])
            for weights in MDLM_WEIGHTS:
                write_half(base / weights, target / weights)
            _write_replay(base, target, seed)
        card = Card(
            title=f"The base of the tiny preset's {name.upper()}",
            command=f"python -m scripts.train_tiny_base run_dir=RUN part={name} seed={seed}",
            seed=seed,
            hours=config.hours[name],
            data=SCENES,
            figures=last_losses(run.eddm / "log.jsonl" if name == "eddm" else base / "log.jsonl"),
            settings=identity.settings,
        )
        write_card(target, card)
    return folder / name


def _write_replay(base: Path, target: Path, seed: int) -> None:
    """The scenes of its training that an adapter's training draws again, from the base's own record."""
    told = read_json(base / "config.json")["base"]
    scenes = {**told["replay"], "augment": AugmentConfig(**told["replay"]["augment"])}
    write_drawn(target / "replay.json", ReferringConfig(**scenes), size=int(told["sam"]["image_size"]), seed=seed)


def last_losses(path: Path) -> dict[str, float]:
    """What the last row of each part of a base's log says of its losses."""
    rows = {row["part"]: row for row in read_jsonl(path) if "part" in row}
    silent = ("step", "lr", "grad_norm", "samples_per_second", "data_share", "memory_gib")
    return {
        f"{part}, {name} at step {row['step']}": round(value, 4)
        for part, row in rows.items()
        for name, value in row.items()
        if isinstance(value, float) and name not in silent
    }


def _ship_run(run: Run, folder: Path) -> Path:
    trained, mdlm = run.eddm / "config.json", run.mdlm / "eddm"
    lacking = [str(path) for path in (trained, mdlm / MANIFEST, run.path / CALIBRATION) if not path.is_file()]
    if lacking:
        raise UserError(f"Nothing to ship in {run.path}: neither a finished base, nor a finished run: no {lacking[0]}.")
    manifest = read_json(mdlm / MANIFEST)["mdlm"]
    bases = [read_json(trained)["trained"]["base"], manifest["llava"]["path"], manifest["sam"]["checkpoint"]]
    if other := [base for base in bases if not is_shipped(base)]:
        raise UserError(f"{run.path} was trained on {other[0]}, which does not ship. Train it with base=shipped.")
    settings = read_json(mdlm / "config.json")
    with _whole(folder / "run") as target:
        copy = Run(target)
        _copy(run.eddm / "adapter", copy.eddm / "adapter", ["adapter_model.safetensors", "adapter_config.json"])
        _copy(mdlm, copy.mdlm / "eddm", MDLM_PARTS)
        for path in (trained, mdlm / "config.json"):
            write_json(target / path.relative_to(run.path), hide_paths(read_json(path), run.path))
        load_familiar(run.path, mdlm, DeviceConfig())  # makes the file where no inspection has done so yet
        _copy(run.path, target, [FAMILIAR])
        _carry_calibration(run, copy)
        figures = {
            f"{part}, {name}": round(value, 4)
            for part, values in read_metrics(run).items()
            for name, value in values.items()
            if value is not None
        }
        card = Card(
            title="A tiny EIAD: EDDM and MDLM of the demo, for `run=tiny`",
            command=f"python -m scripts.run_all run_dir=RUN seed={settings['seed']}",
            seed=int(settings["seed"]),
            hours=None,
            data=PRODUCTS,
            figures=figures,
            settings={"eddm": bases[0], "mdlm.llava": bases[1], "mdlm.sam": bases[2]},
        )
        write_card(target, card)
    return folder / "run"


def _carry_calibration(run: Run, copy: Run) -> None:
    """The calibration names the model by all its files, and the copy's configuration holds no paths of this machine."""
    found = read_calibration(run.path, identify_eiad(EIADConfig(run=str(run.path))))
    assert found is not None
    write_calibration(copy.path / CALIBRATION, replace(found, model=identify_eiad(EIADConfig(run=str(copy.path)))))


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside its place, which takes it at the end."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield make_dir(partial)
    share(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copies files and folders, without the cards that libraries write into them."""
    make_dir(target)
    with writing(target):
        for name in names:
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("README.md"))
            else:
                shutil.copyfile(source / name, target / name)
