"""Generated tiny checkpoints with planted faults."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.doctor.problems import Problem
from models.mdlm.sam import Sam, SamConfig
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from models.weights.check import INDEX, check_folder, check_pin, check_sam
from models.weights.table import Checkpoint, TrainedPart, checkpoints

SAM = SamConfig(
    image_size=64, patch_size=8, width=32, depth=1, heads=2, global_layers=[0], window=0, relative_positions=False,
    channels=32, decoder_heads=2, decoder_mlp=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "llava"
    tokenizer = build_tiny_tokenizer(["a scratch at the top"] * 9, 320)
    model = build_tiny_llava(TinyLlavaConfig(width=32, layers=2, heads=2, mlp=48, tile_size=32), tokenizer, seed=0)
    model.save_pretrained(folder, max_shard_size="60KB")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(pristine, tmp_path / "llava"))


def entry(folder: Path) -> Checkpoint:
    words = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Checkpoint(
        name="tiny", title="Tiny LLaVA", license="none", part=TrainedPart.mdlm, key="mdlm.llava.path", hub="a/b",
        gigabytes=size / 1e9, files=("config.json", "tokenizer_config.json"),
        config={"model_type": "llava_next", "text_config": {"hidden_size": 32, "vocab_size": words}},
        check=("model_type", "text_config.hidden_size", "text_config.vocab_size"),
    )  # fmt: skip


def examine(folder: Path, *candidates: Checkpoint) -> list[Problem]:
    found: list[Problem] = []
    check_folder(folder, candidates or (entry(folder),), found)
    return found


def test_a_whole_checkpoint_has_no_problem(folder: Path) -> None:
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert examine(folder) == []


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def truncate(folder: Path) -> None:
    path = shards(folder)[1]
    path.write_bytes(path.read_bytes()[:-10])


def drop_tensor(folder: Path) -> None:
    path = shards(folder)[0]
    state = load_file(path)
    state.pop(sorted(state)[0])
    save_file(state, path)


def add_tensor(folder: Path) -> None:
    save_file({**load_file(shards(folder)[0]), "extra": torch.zeros(1)}, shards(folder)[0])


def change_config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def only_pickle(folder: Path) -> None:
    for path in [*shards(folder), folder / INDEX]:
        path.unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")


def no_weights(folder: Path) -> None:
    for path in [*shards(folder), folder / INDEX]:
        path.unlink()


def longer_words(folder: Path) -> None:
    for path in shards(folder):
        state = load_file(path)
        for name in [name for name in state if name.endswith("embed_tokens.weight")]:
            state[name] = torch.zeros(999, 32)
        save_file(state, path)


@pytest.mark.parametrize(
    ("plant", "code", "message"),
    [
        (truncate, "broken-weights", ""),
        (drop_tensor, "broken-weights", "Lacks 1 tensors of the index"),
        (add_tensor, "broken-weights", "the index lacks, first extra"),
        (lambda folder: shards(folder)[0].unlink(), "missing-shard", "index.json names it"),
        (lambda folder: (folder / INDEX).write_text("{"), "broken-weights", "no index of shards"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "missing-shard", "Belongs to Tiny"),
        (lambda folder: (folder / "config.json").unlink(), "missing-shard", "Every checkpoint folder"),
        (lambda folder: (folder / "config.json").write_text("{"), "broken-weights", ""),
        (only_pickle, "pickled-weights", "as a pickle"),
        (no_weights, "missing-weights", "Holds no weights"),
        (longer_words, "wrong-architecture", "has 999 words"),
        (change_config(auto_map={"AutoModel": "code.Model"}), "unexpected-code", "needs no code"),
    ],
)
def test_planted_faults(plant: Callable[[Path], object], code: str, message: str, folder: Path) -> None:
    expected = entry(folder)
    plant(folder)
    found = examine(folder, expected)
    assert any(item.code == code and message in item.message for item in found), found
    assert all(item.fix for item in found)


def test_another_architecture_or_vocabulary(folder: Path) -> None:
    wide = replace(entry(folder), title="Wide", config={"model_type": "llava_next", "text_config": {"hidden_size": 64}})
    (found,) = examine(folder, wide)
    assert found.code == "wrong-architecture" and "text_config.hidden_size is 32, not 64" in found.message
    assert examine(folder, wide, entry(folder)) == []  # any of the choices for the key will do
    grown = entry(folder)
    assert examine(folder, replace(grown, config={**grown.config, "text_config": {"hidden_size": 32, "vocab_size": 1}}))


def test_pickles_beside_weights_and_another_size_are_warnings(folder: Path) -> None:
    torch.save({}, folder / "training_args.bin")
    (found,) = examine(folder)
    assert (found.code, found.severity.value) == ("stray-pickle", "warning")
    (_, found) = examine(folder, replace(entry(folder), gigabytes=9.9))
    assert (found.code, found.severity.value) == ("size-differs", "warning")


def sam_problems(path: Path, config: SamConfig = SAM, expected: Checkpoint | None = None) -> list[Problem]:
    found: list[Problem] = []
    check_sam(path, config, expected, found)
    return found


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_sam_whole_truncated_or_of_another_size(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sam{suffix}"
    state = Sam(SAM).state_dict()
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    assert sam_problems(path) == []
    (found,) = sam_problems(path, replace(SAM, width=64))
    assert found.code == "wrong-architecture" and "tensors differ" in found.message
    (found,) = sam_problems(path, SAM, replace(checkpoints()["sam-vit-h"]))
    assert found.code == "broken-weights" and "2,564,550,879" in found.message
    path.write_bytes(path.read_bytes()[:-2000])
    (found,) = sam_problems(path)
    assert found.code == "broken-weights"


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_sams_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"image_encoder.pos_embed": Evil()}, tmp_path / "sam.pth")
    (found,) = sam_problems(tmp_path / "sam.pth")
    assert found.code == "broken-weights"
    assert not (tmp_path / "ran").exists()


def test_code_of_its_own_needs_a_commit_and_permission() -> None:
    remote = checkpoints()["minicpm-v-2.6"]
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert list(check_pin(remote, "x", revision=commit, allowed=True)) == []
    assert [item.fix for item in check_pin(remote, "x", revision=None, allowed=True)] == [
        "Read it, then set model.revision=<commit>."
    ]
    assert "can move" in next(check_pin(remote, "x", revision="main", allowed=True)).message
    assert len(list(check_pin(remote, "x", revision=None, allowed=False))) == 2
    assert list(check_pin(checkpoints()["sam-vit-h"], "x", revision=None, allowed=False)) == []
