import ast
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from data.errors import UserError
from models.weights.trust import admit, find_code, hash_code
from tests.models.weights.marked import write_marked, write_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_marked(tmp_path / "marked", tmp_path / "ran")


def test_the_marked_folder_is_dangerous(folder: Path, tmp_path: Path) -> None:
    AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (tmp_path / "ran").read_text() == "ranran"


def test_code_runs_only_where_it_is_allowed_and_pinned(folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"names code of its own \(auto_map in config.json\).*set x.trust_remote_code=true"
    ):
        admit(folder, flag="x.trust_remote_code")
    with pytest.raises(UserError, match="none is run here"):
        admit(folder, trusted=True, flag=None)
    digest = hash_code(folder)
    with pytest.raises(UserError, match=rf"pin what you have read with model.revision={digest}, the hash of its code"):
        admit(folder, trusted=True, pin="model.revision")
    with pytest.raises(UserError, match="revision=main can move"):
        admit(folder, trusted=True, revision="main")
    for pin in (digest, COMMIT):
        admitted = admit(folder, trusted=True, revision=pin)
        assert (admitted.place, admitted.code, admitted.revision) == (folder, digest, pin)
        assert admitted.trust_remote_code
    assert admit(folder, trusted=True, code=digest).code == digest


def test_pickled_weights_are_refused_whatever_is_trusted(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    torch.save({}, folder / "pytorch_model.bin")
    for trusted in (True, False):
        with pytest.raises(UserError, match=r"holds pickled weights \(pytorch_model\.bin\)"):
            admit(folder, trusted=trusted, code=hash_code(folder))


def test_code_that_has_changed_is_refused(folder: Path) -> None:
    digest = hash_code(folder)
    (folder / "helper.py").write_text("name = 'other'\n")
    with pytest.raises(UserError, match="is not what revision="):
        admit(folder, trusted=True, revision=digest)
    with pytest.raises(UserError, match="is not the code that was trained with"):
        admit(folder, trusted=True, revision=digest, code=digest)


def test_a_folder_without_code_is_admitted_whatever_is_trusted(tmp_path: Path) -> None:
    folder = write_marked(tmp_path / "plain", tmp_path / "ran")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"auto_map": 7}}}')
    for trusted in (True, False):
        admitted = admit(folder, trusted=trusted, flag=None)
        assert admitted.code is None and not admitted.trust_remote_code


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("preprocessor_config.json", '{"auto_map": {"AutoProcessor": "helper.X"}}'),
        ("tokenizer_config.json", '{"auto_map": [null, "helper.X"]}'),
        ("config.json", '{"text_config": {"auto\\u005fmap": {"AutoConfig": "helper.X"}}}'),
        ("config.json", '{"auto_map": {"AutoConfig": "helper.X"}, "auto_map": 3}'),
        ("sub/processor_config.json", '[{"auto_map": "helper.X"}]'),
    ],
)
def test_it_is_found_in_any_file_at_any_depth(folder: Path, name: str, text: str) -> None:
    (folder / "config.json").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    assert find_code(folder) == {name: ["helper.X"]}
    with pytest.raises(UserError, match="names code of its own"):
        admit(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"model_type": "llama", "_attn_implementation": "owner/kernel:attend"}'),
        ("config.json", '{"attn_implementation": {"text_config": "paged|owner/kernel@main"}}'),
        ("config.json", '{"text_config": {"_attn_implementation_internal": "owner/kernel"}}'),
        ("sub/config.json", '{"experts_implementation": "owner/kernel"}'),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_kernels_of_the_hub_are_refused_even_where_code_is_trusted(
    folder: Path, trusted: bool, name: str, text: str
) -> None:
    (folder / "config.json").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name} asks for '.*owner/kernel.*', a kernel of the hub"):
        admit(folder, trusted=trusted, revision=COMMIT)
    (folder / name).write_text('{"_attn_implementation": "sdpa", "attn_implementation": {"": "eager"}}')
    assert admit(folder).code is None


def test_a_folder_that_leads_to_another_base_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(UserError, match=r"holds an adapter \(adapter_config.json\)"):
        admit(folder, trusted=True, revision=hash_code(folder))


def test_code_files_that_are_missing_are_named(folder: Path) -> None:
    (folder / "helper.py").unlink()
    with pytest.raises(UserError, match=r"lacks its code file helper\.py"):
        admit(folder, trusted=True, revision=COMMIT)


@pytest.mark.parametrize("reference", ["someone/else--configuration_marked.MarkedConfig", "../x.Y", "a.b.C"])
def test_code_from_elsewhere_is_refused(folder: Path, reference: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": reference}}))
    with pytest.raises(UserError, match="names code outside the folder"):
        admit(folder, trusted=True, revision=COMMIT)


def test_a_snapshot_is_pinned_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_snapshot(tmp_path / "hub", "a/b", COMMIT, tmp_path / "ran")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=rf"a/b runs code of its own: pin .* revision={COMMIT}, the commit"):
        admit("a/b", trusted=True)
    with pytest.raises(UserError, match="revision=main can move"):
        admit("a/b", trusted=True, revision="main")
    admitted = admit("a/b", trusted=True, revision=COMMIT)
    assert (admitted.place, admitted.revision, admitted.code) == (place, COMMIT, hash_code(place))
    with pytest.raises(UserError, match="is not what revision=f"):
        admit(place, trusted=True, revision=OTHER)
    with pytest.raises(UserError, match="in the hub's cache"):
        admit("a/b", trusted=True, revision=OTHER)
    assert not (tmp_path / "ran").exists()


def test_libraries_are_always_told_about_code() -> None:
    """Not told, one of them asks on stdin."""
    for path in sorted(path for room in ("models", "eval", "train", "scripts") for path in Path(room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "from_pretrained"
            ) and ast.unparse(node.func.value).startswith("Auto"):
                said = {keyword.arg for keyword in node.keywords}
                assert said & {"trust_remote_code", None}, f"{path}:{node.lineno}"
