from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.weights import shipped
from models.weights.shipped import find_shipped, is_shipped, name_shipped


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "eddm").mkdir(parents=True)
    save_file({"a": torch.ones(2)}, tmp_path / "checkpoints" / "eddm" / "model.safetensors")
    return tmp_path / "checkpoints"


def test_a_name_leads_back_to_the_same_weights_and_to_no_others(folder: Path) -> None:
    name = name_shipped(folder / "eddm" / ".." / "eddm")
    assert name is not None and is_shipped(name) and str(folder) not in name
    assert find_shipped(name) == folder / "eddm"
    save_file({"a": torch.zeros(2)}, folder / "eddm" / "model.safetensors")
    with pytest.raises(UserError, match=r"trained on shipped:eddm@\w{16}, and the code here ships another"):
        find_shipped(name)


def test_other_places_have_no_such_name(folder: Path, tmp_path: Path) -> None:
    assert name_shipped(tmp_path) is None and not is_shipped("openbmb/MiniCPM-V-2_6")
    with pytest.raises(UserError, match="is missing, which ships with the code"):
        name_shipped(folder / "mdlm")
