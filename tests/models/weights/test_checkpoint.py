import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from models.weights.checkpoint import Identity, identify, require

ONE, TWO = "1" * 40, "2" * 40


def write(folder: Path, *, value: float = 1.0, shards: int = 2, kind: str = "tiny", vocabulary: int = 8) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "text_config": {"vocab_size": vocabulary}}))
    names = {f"w{index}": f"model-{index}.safetensors" for index in range(shards)}
    for name, file in names.items():
        save_file({name: torch.full((2, 3), value)}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def test_a_copy_is_the_same_base_and_other_weights_are_not(tmp_path: Path) -> None:
    identity = identify(str(write(tmp_path / "one")))
    assert (identity.name, identity.hub, identity.revision, identity.vocabulary) == ("one", False, None, 8)
    assert Identity.from_json(json.loads(json.dumps(identity.to_json()))) == identity
    copy = Path(shutil.copytree(tmp_path / "one", tmp_path / "copy"))
    assert require(identity, str(copy), what="base") == copy
    with pytest.raises(UserError, match=r"base=.*holds other weights"):
        require(identity, str(write(tmp_path / "other", value=1.5)), what="base")
    with pytest.raises(UserError, match="local checkpoint 'one': say where it is with base="):
        require(identity, None, what="base")


def test_another_architecture_or_vocabulary_is_named(tmp_path: Path) -> None:
    identity = identify(str(write(tmp_path / "one")))
    with pytest.raises(UserError, match="is a 'big', but the adapter was trained on 'tiny'"):
        require(identity, str(write(tmp_path / "big", kind="big")), what="base")
    with pytest.raises(UserError, match="has 9 tokens, but the adapter was trained on a base of 8"):
        require(identity, str(write(tmp_path / "long", vocabulary=9)), what="base")


def test_a_snapshot_of_the_hub_is_known_by_its_commit(tmp_path: Path) -> None:
    place = write(tmp_path / "models--a--b" / "snapshots" / ONE)
    identity = identify(str(place))
    assert (identity.name, identity.hub, identity.revision) == ("a/b", True, ONE)
    assert require(identity, str(place), what="base") == place
    later = write(tmp_path / "models--a--b" / "snapshots" / TWO)
    with pytest.raises(UserError, match=rf"has revision {TWO}, but the adapter was trained on a/b@{ONE}"):
        require(identity, str(later), what="base")
    copy = Path(shutil.copytree(place, tmp_path / "plain"))  # by content, where the commit is not known
    assert require(identity, str(copy), what="base") == copy


def test_a_hub_id_is_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path / "models--a--b" / "snapshots" / ONE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    identity = identify("a/b", ONE)
    assert (identity.name, identity.hub, identity.revision) == ("a/b", True, ONE)
    assert require(identity, None, what="base") == place


def test_the_pin_of_a_folder_is_kept_and_its_weights_decide(tmp_path: Path) -> None:
    place = write(tmp_path / "one")
    identity = identify(str(place), ONE, "c" * 64)
    assert (identity.name, identity.hub, identity.revision, identity.code) == ("one", False, ONE, "c" * 64)
    snapshot = Path(shutil.copytree(place, tmp_path / "models--a--b" / "snapshots" / ONE))
    assert require(identity, str(snapshot), what="base") == snapshot
    other = write(tmp_path / "models--a--b" / "snapshots" / TWO, value=2.0)
    with pytest.raises(UserError, match="holds other weights"):
        require(identity, str(other), what="base")
    old = {name: value for name, value in identity.to_json().items() if name != "code"}
    assert Identity.from_json(old).code is None


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path / "one")
    (place / "model-1.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 of 2 shards are missing .*model-1\.safetensors first"):
        identify(str(place))
