import json
import logging
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from train.eddm.checkpoints import SEAL, find_damage, newest_intact, remove_damaged, seal


def write_checkpoint(folder: Path, step: int, *, sealed: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "global_step").mkdir(parents=True)
    save_file({"a": torch.zeros(4)}, path / "adapter_model.safetensors")
    torch.save({"b": torch.zeros(400)}, path / "optimizer.pt")
    torch.save({"c": torch.zeros(4)}, path / "global_step" / "rank_0.pt")
    history = [{"step": step, "loss": 1.0}]
    state = {"global_step": step, "max_steps": 8, "log_history": history}
    (path / "trainer_state.json").write_text(json.dumps(state))
    if sealed:
        seal(path, world=2)
    return path


def test_the_newest_sealed_checkpoint_is_taken(tmp_path: Path) -> None:
    assert newest_intact(tmp_path) is None
    for step in (8, 10, 2):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-last").mkdir()
    found = newest_intact(tmp_path)
    assert found is not None
    assert (found.path.name, found.step, found.steps, found.world, found.is_last) == ("checkpoint-10", 10, 8, 2, True)
    assert found.history == [{"step": 10, "loss": 1.0}]


def test_an_unsealed_one_is_passed_over_with_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_checkpoint(tmp_path, 2)
    torn = write_checkpoint(tmp_path, 4, sealed=False)
    with caplog.at_level(logging.WARNING):
        found = newest_intact(tmp_path)
    assert found is not None and found.step == 2 and torn.exists()
    assert "checkpoint-4 is damaged (it was never finished)" in caplog.text
    remove_damaged(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "global_step/rank_0.pt"]
)
def test_truncated_missing_and_altered_files_are_found(tmp_path: Path, name: str) -> None:
    path = write_checkpoint(tmp_path, 2) / name
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 1)
    assert f"{name} has {len(whole) - 1} bytes instead of {len(whole)}" in str(
        find_damage(path.parents[name.count("/")])
    )
    path.unlink()
    assert f"{name} is missing" in str(find_damage(path.parents[name.count("/")]))
    path.write_bytes(b"\0" * len(whole))
    assert f"{name}: not readable" in str(find_damage(path.parents[name.count("/")]))


def test_a_flipped_bit_in_the_optimizer_is_found(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 2)
    path = folder / "optimizer.pt"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    assert "optimizer.pt" in str(find_damage(folder))


def test_a_seal_that_is_not_readable_counts_as_damage(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, 2)
    (folder / SEAL).write_text("{")
    assert find_damage(folder) == f"{SEAL} is not readable"
