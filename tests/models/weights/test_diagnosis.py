from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data.errors import UserError
from data.files import hash_file
from models.mdlm.sam import Sam, SamConfig
from models.tiny.llava_sam import TinyLlavaConfig, build_tiny_llava, build_tiny_tokenizer
from models.weights import diagnosis
from models.weights.diagnosis import Wanted, examine_weights
from models.weights.table import TrainedPart

SAM = SamConfig(
    image_size=64, patch_size=8, width=32, depth=1, heads=2, global_layers=[0], window=0, relative_positions=False,
    channels=32, decoder_heads=2, decoder_mlp=32,
)  # fmt: skip


def want(place: object, **values: object) -> Wanted:
    return Wanted(place=str(place), part=TrainedPart.mdlm, key="mdlm.sam.checkpoint", **values)  # type: ignore[arg-type]


def codes(found: diagnosis.WeightsDiagnosis) -> list[str]:
    return [item.code for item in found.problems]


def test_an_unknown_but_fitting_file_is_hashed_and_passes_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(Sam(SAM).state_dict(), path)
    result = examine_weights("p", [want(path, sam=SAM)], hashes=True)
    assert result.passed and codes(result) == ["unknown-weights"]
    assert result.document()["weights"]["checkpoints"][0]["sha256"] == {"mine.safetensors": hash_file(path)}
    assert hash_file(path) in result.text(show=5)
    assert hash_file(path) not in examine_weights("p", [want(path, sam=SAM)], hashes=False).text(show=5)


def test_wrong_bytes_under_a_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sam_vit_l_0b3195.pth"
    torch.save(Sam(SAM).state_dict(), path)
    result = examine_weights("p", [want(path, sam=SAM)], hashes=True)
    assert not result.passed and codes(result) == ["wrong-hash"]
    assert "NOT as published" in result.text(show=5)


def test_the_hubs_cache_is_looked_into_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "f" * 40
    cache = tmp_path / "hub"
    snapshot = cache / "models--a--b" / "snapshots" / commit
    tokenizer = build_tiny_tokenizer(["a dent"] * 9, 300)
    build_tiny_llava(TinyLlavaConfig(width=32, layers=1, heads=2, mlp=48), tokenizer, seed=0).save_pretrained(snapshot)
    (cache / "models--a--b" / "refs").mkdir()
    (cache / "models--a--b" / "refs" / "main").write_text(commit)
    monkeypatch.setattr(diagnosis.constants, "HF_HUB_CACHE", str(cache))
    wanted = Wanted(place="a/b", part=TrainedPart.mdlm, key="mdlm.llava.path")
    result = examine_weights("p", [wanted], hashes=False)
    assert result.found[0].path == str(snapshot)
    assert codes(result) == ["wrong-architecture", "unknown-weights"]  # it is neither of the LLaVAs of the table
    other = Wanted(place="a/b", part=TrainedPart.mdlm, key="mdlm.llava.path", revision="e" * 40)
    assert codes(examine_weights("p", [other], hashes=False)) == ["missing-weights"]


def test_what_is_missing_must_fit_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 2 * 10**9})
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda folder: usage)
    result = examine_weights("p", [want(tmp_path / "sam_vit_h_4b8939.pth", sam=SAM)], hashes=True)
    assert codes(result) == ["missing-weights", "no-space"]
    missing, space = result.problems
    assert "dl.fbaipublicfiles.com" in missing.fix and "mdlm.sam.checkpoint=PATH" in missing.fix
    assert "2.4 GiB are missing, 1.9 GiB are free" in space.message
    assert str(tmp_path) in space.file


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").touch()
    wanted = Wanted(place=str(tmp_path / "x.safetensors"), part=TrainedPart.mdlm, key="mdlm.llava.path")
    assert codes(examine_weights("p", [wanted], hashes=True)) == ["missing-weights"]


def test_nothing_wanted_is_healthy() -> None:
    result = examine_weights("tiny", [], hashes=True)
    assert result.passed
    assert "trains its own small models" in result.text(show=5)


def test_what_is_missing_adds_up_on_one_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 3 * 10**9})
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda folder: usage)
    (tmp_path / "other").mkdir()
    names = ("sam_vit_h_4b8939.pth", "other/sam_vit_l_0b3195.pth")
    one = examine_weights("p", [want(tmp_path / names[0], sam=SAM)], hashes=True)
    both = examine_weights("p", [want(tmp_path / name, sam=SAM) for name in names], hashes=True)
    assert "no-space" not in codes(one) and "no-space" in codes(both)


def test_a_checkpoint_is_downloaded_only_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def resolve(place: str, revision: str | None, *, download: bool) -> Path:
        asked.append((place, revision, download))
        raise UserError("no route")

    monkeypatch.setattr(diagnosis.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(diagnosis, "resolve_checkpoint", resolve)
    wanted = Wanted(place="a/b", part=TrainedPart.mdlm, key="mdlm.llava.path", revision="v1")
    examine_weights("p", [wanted, want(tmp_path)], hashes=False)
    assert not asked
    result = examine_weights("p", [wanted, want(tmp_path)], hashes=False, download=True)
    assert asked == [("a/b", "v1", True)] and "no route" in result.text(show=5)
