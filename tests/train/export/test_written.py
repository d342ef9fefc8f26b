"""Where an export is proven, and in which number format."""

import pytest
import torch

from models.device import DeviceConfig, Placement, Precision
from train.export.written import choose_passes, coarsest, exact


@pytest.mark.parametrize(
    ("precision", "own", "held", "product"),
    [
        (Precision.auto, "float32", "float32", torch.float32),
        (Precision.auto, "bfloat16", "bfloat16", torch.bfloat16),
        (Precision.float32, "bfloat16", "float32", torch.float32),
        (Precision.bf16, "float32", "float32", torch.bfloat16),
        (Precision.fp16, "bfloat16", "bfloat16", torch.float16),
    ],
)
def test_a_proof_never_rounds_the_weights(precision: Precision, own: str, held: str, product: torch.dtype) -> None:
    placement, passes = choose_passes(DeviceConfig(device="cpu", precision=precision), own)
    assert placement == Placement("cpu", held)
    with passes:
        assert torch.nn.Linear(2, 2, dtype=placement.dtype)(torch.ones(1, 2, dtype=placement.dtype)).dtype is product


def test_it_runs_on_the_gpu_in_the_weights_own_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_passes(DeviceConfig(), "float32")[0] == Placement("cuda:0", "float32")
    assert exact(DeviceConfig()).place() == Placement("cuda:0", "float32")
    assert exact(DeviceConfig(precision=Precision.bf16)).place() == Placement("cuda:0", "bfloat16")


def test_the_coarsest_format_sets_the_tolerance() -> None:
    assert coarsest(torch.float32, torch.float16, torch.bfloat16) is torch.bfloat16
    assert coarsest(torch.float32, torch.float32) is torch.float32
