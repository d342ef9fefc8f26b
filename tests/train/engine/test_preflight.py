import logging

import pytest
from torch import nn

from data.errors import UserError
from train.engine import ranks
from train.engine.preflight import audit, check_same, count_trainable


def model() -> nn.Module:
    parts = nn.ModuleDict({"body": nn.ModuleDict({"lora_a": nn.Linear(2, 3, bias=False)}), "head": nn.Linear(3, 1)})
    parts["frozen"] = nn.Linear(4, 4).requires_grad_(False)
    return parts


def run_audit(network: nn.Module) -> None:
    audit(
        network,
        name="stage",
        strategy="ddp",
        batch="8 a step",
        precision="bf16",
        remedy="loop.precision=no",
        device="cpu",
        facts={"token id of [SEG]": 7},
    )


def test_the_audit_says_what_is_trained(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run_audit(model())
    for words in ("10 trained of 30 parameters; 1 rank on cpu, ddp", "body.lora_a LoRA 6", "head 4", "forward bf16"):
        assert words in caplog.text
    assert "batch: 8 a step" in caplog.text and "token id of [SEG]: 7" in caplog.text
    assert sum(count_trainable(model()).values()) == 10


@pytest.mark.parametrize("able", [True, False])
def test_a_format_that_the_cpu_only_imitates_is_said(
    able: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.device.cpu_computes_in", lambda number: able)
    monkeypatch.setattr("models.device._told", set())
    run_audit(model())
    assert ("no instructions for bf16" in caplog.text and "Set loop.precision=no," in caplog.text) is not able


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(UserError, match="no parameter is trainable"):
        run_audit(nn.Linear(2, 2).requires_grad_(False))


def test_ranks_with_different_configurations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_same({"loop.steps": "6"}, "configurations")
    replies = iter([["one hash", "another"], [{"loop.steps": "6", "seed": "0"}, {"loop.steps": "8", "seed": "0"}]])
    monkeypatch.setattr(ranks, "gather", lambda value: next(replies))
    with pytest.raises(UserError, match=r"different configurations: loop.steps: 6 on rank 0, 8 on rank 1"):
        check_same({"loop.steps": "6", "seed": "0"}, "configurations")
