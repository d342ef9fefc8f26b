import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from data.errors import UserError
from models.exported import list_files, load_exported_eddm, load_exported_mdlm, read_export
from models.mdlm.llava import LlavaConfig, load_llava
from models.weights.trust import hash_code
from tests.models.weights.marked import Marking, write_marked


def write(folder: Path, **values: Any) -> Path:
    """The manifest of a merged EDDM with one file."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    export = {"format": 1, "kind": "eddm", "merged": True, "files": list_files(folder), **values}
    (folder / "manifest.json").write_text(json.dumps({"export": export}))
    return folder


def test_the_files_of_an_export_are_checked_by_name_and_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "eddm")
    assert read_export(folder, "eddm")["files"] == {"model/model.safetensors": 7}
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(b"cut")
    with pytest.raises(UserError, match=r"has 3 bytes, not 7\. Copy or download it again"):
        read_export(folder, "eddm")
    weights.unlink()
    with pytest.raises(UserError, match=r"Missing file of the export: .*model\.safetensors"):
        read_export(folder, "eddm")


@pytest.mark.parametrize("name", ["model/pytorch_model.bin", "adapter/adapter_model.bin", "x.pt", "llava/a.ckpt"])
def test_pickles_are_refused_before_anything_is_loaded(tmp_path: Path, name: str) -> None:
    for kind, load in (("eddm", load_exported_eddm), ("mdlm", load_exported_mdlm)):
        folder = write(tmp_path / kind, kind=kind, dtype="float32", trained={})
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        torch.save(Marking(tmp_path / "ran"), path)
        with pytest.raises(UserError, match=rf"{path.name} is a pickle"):
            load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_manifest_names_files_of_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for name in ("../secret", "/etc/passwd", "model/../../secret"):
        folder = write(tmp_path / "eddm", files={name: 6})
        with pytest.raises(UserError, match=rf"Path outside its folder: '{name}' in .*manifest\.json"):
            read_export(folder, "eddm")
        shutil.rmtree(folder)
    folder = write(tmp_path / "eddm")
    weights = folder / "model" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"'model/model\.safetensors' in .* is a link to .*secret"):
        read_export(folder, "eddm")


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No export at .*manifest\.json is missing"):
        load_exported_mdlm(tmp_path)
    with pytest.raises(UserError, match="is not the manifest of an exported mdlm"):
        load_exported_mdlm(write(tmp_path / "eddm"))
    with pytest.raises(UserError, match="has format 7, not 1"):
        load_exported_eddm(write(tmp_path / "later", format=7))


@pytest.mark.parametrize("backend", ["swift", "transformers"])
def test_the_manifest_of_a_stranger_grants_nothing(tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "eddm"
    model = write_marked(folder / "model", tmp_path / "ran")
    trained = {"trust_remote_code": True, "backend": backend, "revision": "f" * 40, "code": hash_code(model)}
    export = {"format": 1, "kind": "eddm", "merged": True, "dtype": "float32", "trained": trained}
    export["files"] = list_files(folder)
    (folder / "manifest.json").write_text(json.dumps({"export": export}))
    with pytest.raises(UserError, match=r"names code of its own .*set trust_remote_code=true"):
        load_exported_eddm(folder)
    (model / "helper.py").write_text("name = 'x'\n")
    (folder / "manifest.json").write_text(json.dumps({"export": export | {"files": list_files(folder)}}))
    with pytest.raises(UserError, match="is not the code that was trained with"):
        load_exported_eddm(folder, trust_remote_code=True)
    assert not (tmp_path / "ran").exists()


def test_llava_never_runs_code(tmp_path: Path) -> None:
    marked = write_marked(tmp_path / "llava", tmp_path / "ran")
    config = json.loads((marked / "config.json").read_text())
    (marked / "config.json").write_text(json.dumps(config | {"model_type": "llava_next"}))
    with pytest.raises(UserError, match="none is run here"):
        load_llava(LlavaConfig(path=str(marked)))
    assert not (tmp_path / "ran").exists()
