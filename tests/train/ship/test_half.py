from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from train.ship.half import to_half, write_half


def test_weights_take_half_the_bytes_and_are_only_rounded(tmp_path: Path) -> None:
    weights = {"a": torch.randn(64, 64), "b": torch.randn(64), "ids": torch.arange(5)}
    save_file(weights, tmp_path / "whole.safetensors")
    write_half(tmp_path / "whole.safetensors", tmp_path / "half.safetensors")
    halves = load_file(tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    assert torch.equal(halves["a"], weights["a"].half()) and torch.equal(halves["ids"], weights["ids"])


def test_what_would_lose_more_than_its_last_digits_stays() -> None:
    assert to_half(torch.ones(3)).dtype is torch.float16
    assert to_half(torch.zeros(3)).dtype is torch.float16
    for value in (torch.tensor([1.0, 1e5]), torch.full((4,), 1e-8)):
        assert to_half(value) is value
