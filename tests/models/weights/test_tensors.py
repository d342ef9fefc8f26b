from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.weights.tensors import is_script, read_tensors
from tests.models.weights.marked import Marking


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_are_read_from_safetensors_and_from_pickles(tmp_path: Path, legacy: bool) -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1, dtype=torch.float16)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    for name in ("w.safetensors", "w.pth"):
        found = read_tensors(tmp_path / name)
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


def test_a_trainings_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    state = {"module.a": torch.ones(2), "module.b.c": torch.zeros(1)}
    torch.save({"epoch": 31, "state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    for mapped in (False, True):
        assert read_tensors(tmp_path / "w.pt", mapped=mapped).keys() == {"a", "b.c"}
    torch.save({"module.a": torch.ones(2), "b": torch.zeros(1)}, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt").keys() == {"module.a", "b"}  # a name of its own


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_runs_no_code(tmp_path: Path, legacy: bool) -> None:
    for value in (Marking(tmp_path / "ran"), {"a": torch.ones(1), "b": Marking(tmp_path / "ran")}):
        torch.save(value, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match=r"w\.pth is damaged.*or holds more than tensors"):
            read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    assert is_script(path)
    for mapped in (False, True):
        with pytest.raises(
            UserError, match=r"ViT-B-32\.pt is a TorchScript archive: a program, not weights.*safetensors"
        ):
            read_tensors(path, mapped=mapped)
    torch.save({"code": torch.ones(1)}, tmp_path / "w.pt")
    assert not is_script(tmp_path / "w.pt") and read_tensors(tmp_path / "w.pt").keys() == {"code"}


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_without_named_tensors_are_refused(tmp_path: Path, name: str) -> None:
    for content in (b"", b"<html>not found</html>", b"PK\x03\x04"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            read_tensors(tmp_path / name)
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no plain dictionary of tensors"):
        read_tensors(tmp_path / "list.pth")
