import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.weights.shards import (
    INDEX,
    WEIGHTS,
    check_format,
    count_parameters,
    find_adapter,
    list_pickles,
    list_shards,
    refuse_pickles,
)


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


def test_safetensors_beside_pickles_are_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, [WEIGHTS])
    (tmp_path / "training_args.BIN").touch()
    check_format(tmp_path)
    with pytest.raises(UserError, match=r"training_args\.BIN is a pickle"):
        refuse_pickles(tmp_path)


def test_a_pickle_under_the_name_of_safetensors_is_refused(tmp_path: Path) -> None:
    for legacy in (False, True):
        torch.save({"a": torch.ones(1)}, tmp_path / WEIGHTS, _use_new_zipfile_serialization=not legacy)
        for check in (check_format, list_shards, refuse_pickles):
            with pytest.raises(UserError, match=r"model\.safetensors is a pickle"):
                check(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "names pytorch_model.bin, which is no safetensors"),
        ("../other/model.safetensors", r"Path outside its folder: '\.\./other/model\.safetensors' in .*index\.json"),
        ("linked.safetensors", r"Path outside its folder: 'linked\.safetensors' in .*index\.json is a link to"),
        (7, "is no index of shards"),
    ],
)
def test_an_index_names_safetensors_of_its_own_folder(tmp_path: Path, name: object, message: str) -> None:
    folder = tmp_path / "checkpoint"
    write(folder, [WEIGHTS])
    (folder / "linked.safetensors").symlink_to(write(tmp_path / "other", [WEIGHTS])[0])
    torch.save({}, folder / "pytorch_model.bin")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": WEIGHTS, "y": name}}))
    for check in (check_format, list_shards):
        with pytest.raises(UserError, match=message):
            check(folder)


def test_shards_of_the_hub_s_cache_are_links(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("f" * 40)
    (blob,) = write(tmp_path / "models--a--b" / "blobs", ["0" * 64])
    snapshot.mkdir(parents=True)
    (snapshot / "a.safetensors").symlink_to(blob)
    (snapshot / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    assert list_shards(snapshot) == [snapshot / "a.safetensors"]


def test_an_adapter_is_safetensors_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No adapter at .*adapter_model\.safetensors is missing"):
        find_adapter(tmp_path)
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.bin is a pickle"):
        find_adapter(tmp_path)
    (tmp_path / "adapter_model.bin").unlink()
    (path,) = write(tmp_path, ["adapter_model.safetensors"])
    assert find_adapter(tmp_path) == path
