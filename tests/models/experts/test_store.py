from pathlib import Path

import pytest
import torch

from data.errors import UserError
from models.experts.store import category_folder, read_expert, read_tensors, write_expert, write_tensors


def test_tensors_come_back_and_leave_nothing_half_written(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    write_tensors(tmp_path, "metal nut", "memory.safetensors", {"a": shared, "b": shared[1:], "c": shared.view(2, 2).T})
    found = read_tensors(tmp_path, "metal nut", "memory.safetensors", "memory")
    assert torch.equal(found["b"], shared[1:]) and torch.equal(found["c"], shared.view(2, 2).T)
    assert [path.name for path in category_folder(tmp_path, "metal nut").iterdir()] == ["memory.safetensors"]


def test_what_is_missing_or_another_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No memory of 'nut'"):
        read_tensors(tmp_path, "nut", "memory.safetensors", "memory")
    with pytest.raises(UserError, match="No fitted expert"):
        read_expert(tmp_path)
    write_expert(tmp_path, "ddad", {}, {})
    assert read_expert(tmp_path)["expert"] == "ddad"
    with pytest.raises(UserError, match="holds the expert 'ddad', not 'patchcore'"):
        read_expert(tmp_path, "patchcore")
