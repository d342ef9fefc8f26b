"""Bases and a run of toy size, shipped, and read again from where they were shipped to."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.files import read_json, write_json, write_jsonl
from data.run import Run
from data.tiny.drawn import DrawnScenes
from data.tiny.referring import ReferringConfig, ReferringScenes
from eval.calibration.file import read_calibration, write_calibration
from eval.calibration.make import Scores, make_calibration
from eval.inspection.sources import identify_eiad
from models.eiad import EIADConfig, load_eiad
from models.mdlm.llava import LlavaConfig, load_llava
from models.weights import shipped
from models.weights.shipped import name_shipped
from tests.train.export.conftest import run as trained  # type: ignore[import-not-found]  # noqa: F401
from train.engine.identity import Identity
from train.ship.card import list_hashes, read_card
from train.ship.config import ShipConfig
from train.ship.ship import ship

HOURS = {"eddm": 6.5, "mdlm": 2.0}


@pytest.fixture
def bases(trained: Run, tmp_path: Path) -> Run:  # noqa: F811
    """A run directory that holds two finished bases."""
    run = Run(tmp_path / "bases")
    shutil.copytree(trained.eddm / "base", run.eddm / "base")
    shutil.copytree(trained.mdlm / "base", run.mdlm / "base")
    save_file({"a": torch.ones(4)}, run.mdlm / "base" / "heads.safetensors")
    identity = Identity({"seed": "3", "eddm.vision_steps": "2"})
    told = {"replay": asdict(ReferringConfig(scenes=2)), "sam": {"image_size": 64}}
    for done in (run.eddm / "base.json", run.mdlm / "base" / "config.json"):
        write_json(done, {"base": told, "fingerprint": identity.fingerprint})
    for named in (run.eddm / "base.identity.json", run.mdlm / "base" / "identity.json"):
        write_json(named, identity.as_json())
    rows = [{"stage": "base", "part": part, "step": step, "cells": 1 / step} for part in ("a", "b") for step in (1, 8)]
    rows.append({"stage": "lora", "step": 9, "loss": 0.5})
    write_jsonl(run.eddm / "log.jsonl", rows)
    row = {"stage": "base", "part": "decoder", "step": 2, "loss": 0.25, "lr": 0.1}
    write_jsonl(run.mdlm / "base" / "log.jsonl", [row])
    return run


def test_bases_ship_in_half_the_bytes_with_cards(bases: Run, tmp_path: Path) -> None:
    out = tmp_path / "checkpoints"
    assert ship(bases, ShipConfig(folder=str(out), hours=HOURS)) == [out / "eddm", out / "mdlm"]
    expected = {"eddm": {"a, cells at step 8": 0.125, "b, cells at step 8": 0.125}}
    expected["mdlm"] = {"decoder, loss at step 2": 0.25}
    for name, figures in expected.items():
        card = read_card(out / name)
        assert card["files"] == list_hashes(out / name) and card["figures"] == figures
        assert (card["hours"], card["seed"], card["settings"]["eddm.vision_steps"]) == (HOURS[name], 3, "2")
        assert str(tmp_path) not in (out / name / "README.md").read_text()
    whole, half = bases.mdlm / "base" / "llava", out / "mdlm" / "llava"
    assert (half / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size
    first, second = (load_llava(LlavaConfig(path=str(path)))[0] for path in (whole, half))
    for name, value in first.state_dict().items():
        other = second.state_dict()[name]
        assert other.dtype is torch.float32 and torch.equal(other, value.half().float()), name
    scenes = ReferringScenes(ReferringConfig(scenes=2), size=64, seed=3)
    assert np.array_equal(DrawnScenes(out / "mdlm" / "replay.json").get(0, 1).image, scenes.get(0, 1).image)
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == ["eddm", "mdlm"]


def test_nobody_ships_what_is_not_finished_or_of_unknown_making(bases: Run, tmp_path: Path) -> None:
    out = str(tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"ship\.hours\.mdlm=HOURS"):
        ship(bases, ShipConfig(folder=out, hours={"eddm": 1.0}))
    with pytest.raises(UserError, match="neither a finished base, nor a finished run"):
        ship(Run(tmp_path / "none"), ShipConfig(folder=out))
    write_json(bases.eddm / "base.identity.json", Identity({"seed": "4"}).as_json())
    with pytest.raises(UserError, match="being trained again"):
        ship(bases, ShipConfig(folder=out, hours=HOURS))


def test_a_run_on_shipped_bases_ships_itself(
    bases: Run,
    trained: Run,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_mvtec: Callable[..., Path],
) -> None:
    out, run = tmp_path / "checkpoints", Run(tmp_path / "run")
    ship(bases, ShipConfig(folder=str(out), hours=HOURS))
    monkeypatch.setattr(shipped, "SHIPPED", out)
    shutil.copytree(trained.eddm / "adapter", run.eddm / "adapter")
    shutil.copytree(trained.mdlm / "fixed", run.mdlm / "eddm")
    eddm, manifest = read_json(trained.eddm / "config.json"), read_json(run.mdlm / "eddm" / "manifest.json")
    settings = read_json(run.mdlm / "eddm" / "config.json")
    root = write_mvtec()
    settings |= {"seed": 1, "data": {"train": [{"reader": "mvtec_ad", "root": str(root)}]}}
    write_json(run.mdlm / "eddm" / "config.json", settings)
    write_json(run.eddm / "config.json", eddm)
    run.results.write_text(trained.results.read_text())
    write_calibration(
        run.path / "calibration.json",
        make_calibration(Scores([0.1] * 20, [0.1] * 20), [], rate=0.05, model="?", category="", fresh=10, seed=0),
    )
    with pytest.raises(UserError, match="was trained on base, which does not ship"):
        ship(run, ShipConfig(folder=str(out)))
    eddm["trained"]["base"] = name_shipped(out / "eddm")
    manifest["mdlm"]["llava"]["path"] = name_shipped(out / "mdlm" / "llava")
    manifest["mdlm"]["sam"]["checkpoint"] = name_shipped(out / "mdlm" / "sam.safetensors")
    write_json(run.eddm / "config.json", eddm)
    write_json(run.mdlm / "eddm" / "manifest.json", manifest)
    known = read_calibration(run.path)
    assert known is not None
    write_calibration(run.path / "calibration.json", replace(known, model=identify_eiad(EIADConfig(run=str(run.path)))))
    assert ship(run, ShipConfig(folder=str(out))) == [out / "run"]
    card = read_card(out / "run")
    assert card["files"] == list_hashes(out / "run") and card["seed"] == 1
    assert card["figures"] == {"EDDM, AD": 71.25, "MDLM, with_eddm, pixel_auroc": 93.5}
    for path in (out / "run").rglob("*.json"):
        assert str(tmp_path) not in path.read_text() and str(trained.path) not in path.read_text(), path
    moved = shutil.copytree(out / "run", tmp_path / "elsewhere" / "mine")
    eiad = load_eiad(EIADConfig(run=str(moved)))
    assert eiad.eddm is not None
    assert read_calibration(moved, identify_eiad(EIADConfig(run=str(moved)))) is not None
    assert (out / "run" / "familiar.safetensors").is_file()
