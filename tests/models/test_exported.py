import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from models.exported import list_files, load_exported_eddm, load_exported_mdlm, read_export
from models.mdlm.llava import LlavaConfig, load_llava
from models.weights.trust import hash_code
from tests.models.weights.marked import write_marked


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
    weights.rename(folder / "model" / "model.bin")
    with pytest.raises(UserError, match=r"Missing file of the export: .*model\.bin is a pickle and is not loaded"):
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
