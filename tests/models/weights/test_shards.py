import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.weights.shards import INDEX, WEIGHTS, count_parameters, list_pickles, list_shards


def write(folder: Path, names: list[str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        save_file({name.partition(".")[0]: torch.ones(2, 3)}, folder / name)
    return [folder / name for name in names]


def test_one_file_is_its_own_list(tmp_path: Path) -> None:
    (file,) = write(tmp_path, [WEIGHTS])
    assert list_shards(file) == list_shards(tmp_path) == [file]


def test_the_index_decides_where_there_is_one(tmp_path: Path) -> None:
    one, two, _ = write(tmp_path, ["a.safetensors", "b.safetensors", "other.safetensors"])
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}}))
    assert list_shards(tmp_path) == [one, two]
    assert count_parameters(list_shards(tmp_path)) == 12
    one.unlink()
    with pytest.raises(UserError, match=r"1 of 2 shards are missing in .*, a\.safetensors first"):
        list_shards(tmp_path)
    assert [path.name for path in list_shards(tmp_path, check=False)] == ["b.safetensors", "other.safetensors"]


def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    (file,) = write(tmp_path, [WEIGHTS])
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"model\.safetensors is no whole safetensors file"):
        count_parameters([file])


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No weights in"):
        list_shards(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    (tmp_path / "optimizer.pt").touch()
    (tmp_path / "readme.md").touch()
    with pytest.raises(UserError, match=r"holds pickled weights \(optimizer\.pt\)"):
        list_shards(tmp_path)
    assert [path.name for path in list_pickles(tmp_path, "pytorch")] == ["pytorch_model.bin"]
    assert list_pickles(tmp_path / "nowhere") == []
