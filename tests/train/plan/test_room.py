"""A GPU that is too small is named before anything is loaded, with what would fit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data.errors import UserError
from models.weights.trust import Admitted
from tests.train.plan.test_plan import Configs, compose_preset
from train.eddm import train as eddm_training
from train.mdlm import train as mdlm_training
from train.plan.blueprint import Blueprint
from train.plan.footprint import Footprint
from train.plan.options import GIB, Strategy
from train.plan.room import check_room


def gpu(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    there = SimpleNamespace(total_memory=int(gib * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: there)


@pytest.fixture(scope="module")
def tiny() -> Configs:
    return compose_preset("tiny", "gpus=1")


def test_what_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"frozen_bytes": 14 * GIB, "trainable": 2**20, "quantizable": 6 * GIB, "weights": 2, "largest": 2**25}
    measured = {False: Footprint(saved=25 * GIB, peak=26 * GIB, flops=1), True: Footprint(3 * GIB, 4 * GIB, 1)}
    sizes |= {"batch": 8, "micro_batch": 8, "total": 2**30}
    blueprint: Any = SimpleNamespace(name="MDLM", measure=lambda rows, tokens, case, again: measured[again], **sizes)
    gpu(monkeypatch, 48)
    check_room(blueprint, Strategy.ddp, 1, checkpointing=False, preset="paper")
    gpu(monkeypatch, 24)
    check_room(blueprint, Strategy.ddp, 1, checkpointing=True, preset="paper")
    message = (
        r"MDLM: a step takes 40\.0 GiB at least with ddp, and this GPU has 24\.0 GiB\. What fits: ddp with gradient "
        r"checkpointing; .*python -m scripts\.plan preset=paper gpus=1 gpu_gib=24"
    )
    with pytest.raises(UserError, match=message):
        check_room(blueprint, Strategy.ddp, 1, checkpointing=False, preset="paper")
    gpu(monkeypatch, 1)
    with pytest.raises(UserError, match="Nothing fits, even with smaller settings"):
        check_room(blueprint, Strategy.qlora, 1, checkpointing=True, preset="paper")


def test_both_trainings_ask_before_they_load(tiny: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, bool]] = []

    def note(blueprint: Blueprint, strategy: Strategy, ranks: int, *, checkpointing: bool, preset: str) -> None:
        assert (ranks, preset) == (1, "tiny")
        asked.append((blueprint.name, strategy.value, checkpointing))

    monkeypatch.setattr("train.plan.room.check_room", note)
    _, eddm, mdlm = tiny
    base = Admitted(place=Path(eddm.model.id), revision=None, code=None)
    on_gpu = replace(eddm.optim, use_cpu=False, deepspeed="zero2", gradient_checkpointing=True)
    mdlm_training._check_room(mdlm)
    assert asked == []  # without a GPU nothing is asked
    gpu(monkeypatch, 8)
    mdlm_training._check_room(mdlm)
    eddm_training._check_room(replace(eddm, optim=on_gpu), base)
    eddm_training._check_room(replace(eddm, optim=replace(eddm.optim, use_cpu=True)), base)
    assert asked == [("MDLM", "ddp", False), ("EDDM", "zero2", True)]


@pytest.mark.slow
def test_the_papers_mdlm_needs_checkpointing_on_a_small_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, mdlm = compose_preset("paper")
    gpu(monkeypatch, 24)
    mdlm_training._check_room(replace(mdlm, mdlm=replace(mdlm.mdlm, gradient_checkpointing=True)))
    with pytest.raises(UserError, match=r"What fits: ddp with gradient checkpointing"):
        mdlm_training._check_room(replace(mdlm, mdlm=replace(mdlm.mdlm, gradient_checkpointing=False)))


def test_an_architecture_that_cannot_be_planned_is_left_to_try(
    tiny: Configs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl", "auto_map": {}}')
    gpu(monkeypatch, 0.001)
    eddm = replace(tiny[1], optim=replace(tiny[1].optim, use_cpu=False))
    eddm_training._check_room(eddm, Admitted(place=tmp_path, revision=None, code=None))
