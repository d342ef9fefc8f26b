import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from models.exported import list_files, load_exported_eddm, load_exported_mdlm, read_export


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


def test_remote_code_needs_a_word_from_the_caller(tmp_path: Path) -> None:
    folder = write(tmp_path / "eddm", trained={"trust_remote_code": True})
    with pytest.raises(UserError, match="runs code that comes with its weights: allow trust_remote_code=true"):
        load_exported_eddm(folder)
